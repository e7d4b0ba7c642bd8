"""What a spec may name."""

from flask import Response
from flask_openapi3 import APIBlueprint, Tag

from api.http.requests import parsed
from api.http.responses import document, problems
from api.planner.catalog import Catalog
from api.services import services
from shared.errors import PlanningUnavailable

bp = APIBlueprint("catalog", __name__, url_prefix="/api/v1/catalog", abp_tags=[Tag(name="Jobs")])


@bp.get("", responses={200: Catalog, **problems(PlanningUnavailable)})
@parsed
def show_catalog() -> Response:
    """Layers, optimizers, losses, metrics and the like with their arguments, read from Keras itself; data sets."""
    return document(services().planner.catalog())
