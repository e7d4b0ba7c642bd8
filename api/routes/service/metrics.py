"""Serve the metrics to Prometheus."""

from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from api.access.needs import needs
from api.http.requests import parse_request
from api.http.responses import describe_bytes
from api.services import services
from shared.access.rights import Scope

bp = APIBlueprint("metrics", __name__, abp_tags=[Tag(name="Service")])


@bp.get("/metrics", responses={200: describe_bytes("text/plain", "Metrics in the text format of Prometheus.")})
@needs(Scope.METRICS)
@parse_request
def show_service_metrics() -> Response:
    """Show the metrics for Prometheus.

    They cover the predictions of this process, and all jobs in the database.
    """
    return Response(services().metrics.render(), content_type=CONTENT_TYPE_PLAIN_0_0_4)
