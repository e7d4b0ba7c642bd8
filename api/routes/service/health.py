"""Check whether the process runs, and whether it can reach the services that it needs."""

import logging
from collections.abc import Callable
from http import HTTPStatus

from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from api.access.callers import get_caller
from api.access.needs import open_to_all
from api.documents.operations import HealthCheck, Liveness, Readiness
from api.http.requests import parse_request
from api.http.responses import to_response
from api.services import services
from shared.access.rights import Scope
from shared.errors import DiskFull
from shared.jobs.broker import BrokerUnreachable
from shared.version import VERSION

logger = logging.getLogger(__name__)

bp = APIBlueprint("health", __name__, url_prefix="/health", abp_tags=[Tag(name="Health")])


@bp.get("/live", responses={200: Liveness})
@open_to_all
@parse_request
def show_liveness() -> Response:
    """Check that the process runs."""
    return to_response(Liveness(ready=True, version=VERSION))


@bp.get("/ready", responses={200: Readiness, 503: Readiness})
@open_to_all
@parse_request
def show_readiness() -> Response:
    """Check that the API is ready.

    It checks the database, Redis and the artifact store, and returns 503 if it cannot reach one of them, or if the disk
    is full.
    The checks are shown only to who may `read`.
    If this process has versions that it cannot serve, the check `versions` lists them.
    """
    checks = {
        "database": _check("database", _query_database),
        "redis": _check("redis", services().notifier.ping),
        "artifacts": _check("artifacts", services().artifacts.check),
        "disk": _check("disk", services().disk.check),
    }
    ready = all(check.ready for check in checks.values())
    if failures := services().model_cache.list_failures():  # `ready` ignores it: other versions are served
        checks["versions"] = HealthCheck(ready=False, detail=" ".join(failures))
    status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
    shown = checks if get_caller().may(Scope.READ) else {}
    return to_response(Readiness(ready=ready, version=VERSION, checks=shown), status)


def _query_database() -> None:
    with services().sessions() as session:
        session.execute(text("SELECT 1 FROM jobs WHERE 1 = 0"))


def _check(name: str, attempt: Callable[[], None]) -> HealthCheck:
    try:
        attempt()
    except DiskFull as full:
        return HealthCheck(ready=False, detail=full.detail)
    except (SQLAlchemyError, BrokerUnreachable, OSError) as error:
        logger.warning("check of %s failed: %s", name, error)
        return HealthCheck(ready=False, detail=f"The check of `{name}` failed. The log of the API contains the reason.")
    return HealthCheck(ready=True)
