"""Every failure becomes a problem document, RFC 9457; here stands which status each has."""

import logging
from http import HTTPStatus

from flask import Flask, Response
from werkzeug.exceptions import HTTPException

from api.documents.base import Problem, ProblemLocation
from shared import errors, logs
from shared.database.engine import DATABASE_ERRORS
from shared.errors import ServiceError

logger = logging.getLogger(__name__)

RETRY_AFTER_SECONDS = 5
TRANSIENT_ERRORS = (
    errors.DatabaseUnavailable,
    errors.Overloaded,
    errors.PlanningUnavailable,
    errors.TooManyJobs,
    errors.TooManyListeners,
)
"""What may have passed when it is tried again."""
MEDIA_TYPE = "application/problem+json"
STATUS: dict[type[ServiceError], HTTPStatus] = {
    errors.AliasNotFound: HTTPStatus.NOT_FOUND,
    errors.ArtifactDamaged: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.DatabaseUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.DatasetNotFound: HTTPStatus.NOT_FOUND,
    errors.DatasetRefused: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.EvaluationNotFound: HTTPStatus.NOT_FOUND,
    errors.FileNotFound: HTTPStatus.NOT_FOUND,
    errors.IdempotencyKeyReused: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.ImageTooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.InvalidImage: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.InvalidRequest: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.JobCannotBeRetried: HTTPStatus.CONFLICT,
    errors.JobHasEnded: HTTPStatus.CONFLICT,
    errors.JobNotFound: HTTPStatus.NOT_FOUND,
    errors.JobNotStarted: HTTPStatus.CONFLICT,
    errors.LayerNotFound: HTTPStatus.NOT_FOUND,
    errors.MalformedRequest: HTTPStatus.BAD_REQUEST,
    errors.ModelNotFound: HTTPStatus.NOT_FOUND,
    errors.Overloaded: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.PictureNotFound: HTTPStatus.NOT_FOUND,
    errors.PlanningUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.RequestTooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.TooManyListeners: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.TooManyJobs: HTTPStatus.TOO_MANY_REQUESTS,
    errors.UnsupportedContent: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    errors.VersionInUse: HTTPStatus.CONFLICT,
    errors.VersionNotFound: HTTPStatus.NOT_FOUND,
    errors.VersionNotServable: HTTPStatus.INTERNAL_SERVER_ERROR,
}


def register_handlers(app: Flask) -> None:
    """HTTPException includes unknown paths, bodies over the limit and unexpected 500s."""
    app.register_error_handler(ServiceError, _answer_service_error)
    app.register_error_handler(HTTPException, _answer_http_exception)
    for error in DATABASE_ERRORS:
        app.register_error_handler(error, _answer_without_database)


def to_problem(error: ServiceError) -> Problem:
    status = STATUS[type(error)]
    indices = [ProblemLocation(pointer=fault.pointer, detail=fault.detail) for fault in error.faults]
    first = f" {indices[0].pointer}: {indices[0].detail}" if indices else ""
    more = f" And {len(indices) - 1} more." if len(indices) > 1 else ""
    return Problem(
        type=f"/problems/{error.kind}",
        title=status.phrase,
        status=status,
        detail=f"{error.detail}{first}{more}",
        errors=indices or None,
        request_id=logs.get_context("request_id"),
    )


def _answer_service_error(error: ServiceError) -> Response:
    problem = to_problem(error)
    if STATUS[type(error)] >= HTTPStatus.INTERNAL_SERVER_ERROR:
        logger.error("%s: %s", error.kind, error.detail)
    response = _make_response(problem)
    if isinstance(error, TRANSIENT_ERRORS):
        response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response


def _answer_without_database(error: Exception) -> Response:
    logger.error("the database is out of reach: %s", error)
    return _answer_service_error(
        errors.DatabaseUnavailable("The database is out of reach: try again in a moment, nothing was lost.")
    )


def _answer_http_exception(error: HTTPException) -> Response:
    code = error.code or HTTPStatus.INTERNAL_SERVER_ERROR
    problem = Problem(
        type="about:blank",
        title=error.name,
        status=code,
        detail=error.description or error.name,
        request_id=logs.get_context("request_id"),
    )
    response = _make_response(problem)
    response.headers.extend((name, value) for name, value in error.get_headers() if name in ("Allow", "Retry-After"))
    return response


def _make_response(problem: Problem) -> Response:
    return Response(problem.model_dump_json(), status=problem.status, content_type=MEDIA_TYPE)
