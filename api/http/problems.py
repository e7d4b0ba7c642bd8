"""Convert errors to problem documents (RFC 9457) with a status for each kind of error."""

import logging
import re
from difflib import get_close_matches
from http import HTTPStatus

from flask import Flask, Response, current_app, request
from werkzeug.exceptions import HTTPException, InternalServerError, MethodNotAllowed, NotFound

from api.documents.base import Problem, ProblemLocation
from shared import errors, logs
from shared.database.engine import DATABASE_ERRORS
from shared.errors import ServiceError
from shared.storage.disk import FULL

logger = logging.getLogger(__name__)

RETRY_AFTER_SECONDS = 5
MAX_SHOWN_PATH = 200
MAX_NEAR_PATHS = 3
JOB_PATH = re.compile(r"/api/v1/jobs/(?![A-Fa-f0-9]{8}-)([^/]+)")
"""A path with something that is not a UUID in place of the job id."""
PATH_PARAMETER = re.compile(r"<(?:[^<>:]+:)?([^<>]+)>")
"""A parameter in a rule of Flask: `<name>` or `<converter:name>`."""
TRANSIENT_ERRORS = (
    errors.DatabaseUnavailable,
    errors.IdentityProviderUnavailable,
    errors.Overloaded,
    errors.PlanningUnavailable,
    errors.RateExceeded,
    errors.TooManyJobs,
    errors.TooManyListeners,
    errors.TooManySignIns,
)
"""Errors after which the same request can succeed later. Their responses have a `Retry-After` header."""
CHALLENGE = 'Bearer realm="trainyard"'
MEDIA_TYPE = "application/problem+json"
STATUS: dict[type[ServiceError], HTTPStatus] = {
    errors.AccessIsOff: HTTPStatus.CONFLICT,
    errors.AliasNotFound: HTTPStatus.NOT_FOUND,
    errors.ArtifactDamaged: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.DatabaseUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.DatasetInUse: HTTPStatus.CONFLICT,
    errors.DatasetNotFound: HTTPStatus.NOT_FOUND,
    errors.DatasetRefused: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.DiskFull: HTTPStatus.INSUFFICIENT_STORAGE,
    errors.EvaluationNotFound: HTTPStatus.NOT_FOUND,
    errors.FileNotFound: HTTPStatus.NOT_FOUND,
    errors.HostNotAllowed: HTTPStatus.MISDIRECTED_REQUEST,
    errors.IdentityProviderUnavailable: HTTPStatus.BAD_GATEWAY,
    errors.IdentityTaken: HTTPStatus.CONFLICT,
    errors.IdempotencyKeyReused: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.ImageTooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.InvalidImage: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.InvitationNotFound: HTTPStatus.NOT_FOUND,
    errors.InvalidRequest: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.InvitationUnusable: HTTPStatus.GONE,
    errors.JobCannotBeRetried: HTTPStatus.CONFLICT,
    errors.JobHasEnded: HTTPStatus.CONFLICT,
    errors.JobInUse: HTTPStatus.CONFLICT,
    errors.JobNotFound: HTTPStatus.NOT_FOUND,
    errors.JobHasStarted: HTTPStatus.CONFLICT,
    errors.JobNotStarted: HTTPStatus.CONFLICT,
    errors.KeyExpired: HTTPStatus.UNAUTHORIZED,
    errors.KeyNotFound: HTTPStatus.NOT_FOUND,
    errors.LastAdmin: HTTPStatus.CONFLICT,
    errors.LayerNotFound: HTTPStatus.NOT_FOUND,
    errors.LoginTaken: HTTPStatus.CONFLICT,
    errors.MalformedRequest: HTTPStatus.BAD_REQUEST,
    errors.ModelNotFound: HTTPStatus.NOT_FOUND,
    errors.NameTaken: HTTPStatus.CONFLICT,
    errors.NoAdminYet: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.NotAllowed: HTTPStatus.FORBIDDEN,
    errors.NotAuthenticated: HTTPStatus.UNAUTHORIZED,
    errors.OriginNotAllowed: HTTPStatus.FORBIDDEN,
    errors.Overloaded: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.PictureNotFound: HTTPStatus.NOT_FOUND,
    errors.PlanningUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.RequestTooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.SignInFailed: HTTPStatus.BAD_REQUEST,
    errors.TooManyListeners: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.QuotaExceeded: HTTPStatus.TOO_MANY_REQUESTS,
    errors.RateExceeded: HTTPStatus.TOO_MANY_REQUESTS,
    errors.TooManyJobs: HTTPStatus.TOO_MANY_REQUESTS,
    errors.TooManySignIns: HTTPStatus.TOO_MANY_REQUESTS,
    errors.TooManyKeys: HTTPStatus.CONFLICT,
    errors.UnsupportedContent: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    errors.ProjectArchived: HTTPStatus.CONFLICT,
    errors.ProjectNotFound: HTTPStatus.NOT_FOUND,
    errors.UserNotFound: HTTPStatus.NOT_FOUND,
    errors.VersionInUse: HTTPStatus.CONFLICT,
    errors.VersionNotFound: HTTPStatus.NOT_FOUND,
    errors.VersionNotPublished: HTTPStatus.CONFLICT,
    errors.VersionNotServable: HTTPStatus.INTERNAL_SERVER_ERROR,
}
"""The status of every ServiceError. A test checks that none is missing."""


def register_handlers(app: Flask) -> None:
    """Register handlers that answer every exception with a problem document.

    HTTPException covers unknown paths, bodies that are too large, and unexpected exceptions (500).
    """
    app.register_error_handler(ServiceError, answer_service_error)
    app.register_error_handler(HTTPException, answer_http_exception)
    app.register_error_handler(OSError, _answer_full_disk)
    for error in DATABASE_ERRORS:
        app.register_error_handler(error, _answer_without_database)


def to_problem(error: ServiceError) -> Problem:
    """Convert an error to a problem document. `errors` contains all faults, and `detail` the first one."""
    status = STATUS[type(error)]
    locations = [
        ProblemLocation(
            pointer=fault.pointer, in_=fault.where, detail=fault.detail, line=fault.line, column=fault.column
        )
        for fault in error.faults
    ]
    first = f" {locations[0].pointer}: {locations[0].detail}" if locations else ""
    more = f" More faults in `errors`: {len(locations) - 1}." if len(locations) > 1 else ""
    return Problem(
        type=f"/problems/{error.kind}",
        title=status.phrase,
        status=status,
        detail=f"{error.detail}{first}{more}",
        errors=locations or None,
        request_id=logs.get_context("request_id"),
    )


def choose_headers(error: ServiceError) -> dict[str, str]:
    """Return further headers: `Retry-After` for a transient error, `WWW-Authenticate` for status 401."""
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if isinstance(error, TRANSIENT_ERRORS) else {}
    if STATUS[type(error)] is HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = CHALLENGE
    return headers


def log_defect(error: ServiceError) -> None:
    """Log an error whose status is 500 or above: it is not the client's fault."""
    if STATUS[type(error)] >= HTTPStatus.INTERNAL_SERVER_ERROR:
        logger.error("%s: %s", error.kind, error.detail)


def make_defect_problem() -> Problem:
    """Make the problem document of an unexpected exception. It contains no internals; the log contains them."""
    return _describe_http_exception(
        InternalServerError(), "An unexpected error occurred. The log of the API contains the reason."
    )


def answer_service_error(error: ServiceError) -> Response:
    log_defect(error)
    response = _make_response(to_problem(error))
    response.headers.extend(choose_headers(error))
    return response


def _answer_without_database(error: Exception) -> Response:
    logger.error("the database was unreachable: %s", error)
    return answer_service_error(
        errors.DatabaseUnavailable(f"The database is unreachable. Retry in {RETRY_AFTER_SECONDS} s.")
    )


def _answer_full_disk(error: OSError) -> Response:
    """Answer a write to a full disk. Raises all other errors again, which are unexpected."""
    if error.errno not in FULL:
        raise error
    return answer_service_error(
        errors.DiskFull("The disk became full during the request. Delete versions, jobs or data sets, or add space.")
    )


def answer_http_exception(error: HTTPException) -> Response:
    """Answer an error of the web framework with a problem document."""
    match error:
        case NotFound():
            detail = _describe_unknown_path(request.path)
        case MethodNotAllowed():
            allowed = ", ".join(sorted(error.valid_methods or ()))
            detail = f"{request.method} is not allowed for {request.path}. Allowed methods: {allowed}."
        case InternalServerError():
            return _make_response(make_defect_problem())
        case _:
            detail = error.description or error.name
    response = _make_response(_describe_http_exception(error, detail))
    response.headers.extend((name, value) for name, value in error.get_headers() if name in ("Allow", "Retry-After"))
    return response


def _describe_http_exception(error: HTTPException, detail: str) -> Problem:
    return Problem(
        type="about:blank",
        title=error.name,
        status=error.code or HTTPStatus.INTERNAL_SERVER_ERROR,
        detail=detail,
        request_id=logs.get_context("request_id"),
    )


def _describe_unknown_path(path: str) -> str:
    """Return the detail for an unknown path, with the most similar known paths."""
    known = {PATH_PARAMETER.sub(r"<\1>", rule.rule) for rule in current_app.url_map.iter_rules()}
    shown = path[:MAX_SHOWN_PATH]
    if (job_path := JOB_PATH.match(path)) is not None:
        return (
            f"The path {shown!r} does not exist: {job_path[1][:MAX_SHOWN_PATH]!r} is not a job id, which is a UUID. "
            "GET /api/v1/jobs lists the jobs."
        )
    near = get_close_matches(shown, known, n=MAX_NEAR_PATHS, cutoff=0.5)
    advice = f" Similar paths: {', '.join(near)}." if near else ""
    return f"The path {shown!r} does not exist.{advice} /docs documents the API."


def _make_response(problem: Problem) -> Response:
    return Response(problem.model_dump_json(by_alias=True), status=problem.status, content_type=MEDIA_TYPE)
