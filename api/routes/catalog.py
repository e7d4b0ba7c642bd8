"""What a spec may name."""

from flask import Response
from flask_openapi3 import APIBlueprint, Tag

from api.answers import document, problems
from api.requests import parsed
from api.services import services
from shared.catalog import Catalog
from shared.errors import PlanningUnavailable

bp = APIBlueprint("catalog", __name__, url_prefix="/api/v1/catalog", abp_tags=[Tag(name="Jobs")])


@bp.get("", responses={200: Catalog, **problems(PlanningUnavailable)})
@parsed
def show_catalog() -> Response:
    """Layers, optimizers, losses, metrics and the like with their arguments, read from Keras itself; data sets."""
    return document(services().planner.catalog())
