"""What Prometheus scrapes."""

from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from api.http.requests import parsed
from api.http.responses import bytes_of
from api.services import services

bp = APIBlueprint("metrics", __name__, abp_tags=[Tag(name="Service")])


@bp.get("/metrics", responses={200: bytes_of("text/plain", "In Prometheus's text format")})
@parsed
def show_metrics() -> Response:
    """Of the predictions of this process, and of all jobs."""
    return Response(services().metrics.exposition(), content_type=CONTENT_TYPE_PLAIN_0_0_4)
