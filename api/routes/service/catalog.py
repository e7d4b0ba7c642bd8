"""Show the catalog: everything that a spec can name."""

from flask import Response
from flask_openapi3 import APIBlueprint, Tag

from api.http.requests import parse_request
from api.http.responses import describe_problems, to_response
from api.planner.catalog import Catalog
from api.services import services
from shared.errors import PlanningUnavailable

bp = APIBlueprint("catalog", __name__, url_prefix="/api/v1/catalog", abp_tags=[Tag(name="Catalog")])


@bp.get("", responses={200: Catalog, **describe_problems(PlanningUnavailable)})
@parse_request
def show_catalog() -> Response:
    """List everything that a spec can name.

    The catalog contains the layers, optimizers, losses, metrics and further classes of Keras, with their arguments.
    It also contains the built-in data sets.
    """
    return to_response(services().planner.get_catalog())
