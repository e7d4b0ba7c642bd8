"""What Prometheus scrapes."""

from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from api.http.requests import parse_request
from api.http.responses import describe_bytes
from api.services import services

bp = APIBlueprint("metrics", __name__, abp_tags=[Tag(name="Service")])


@bp.get("/metrics", responses={200: describe_bytes("text/plain", "In Prometheus's text format")})
@parse_request
def show_metrics() -> Response:
    """Of the predictions of this process, and of all jobs."""
    return Response(services().metrics.render(), content_type=CONTENT_TYPE_PLAIN_0_0_4)
