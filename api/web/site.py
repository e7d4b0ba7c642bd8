"""Define the blueprint of the pages: their addresses, headers and errors."""

import logging
from collections.abc import Callable
from http import HTTPStatus
from urllib.parse import urlencode

from flask import Blueprint, Response, jsonify, make_response, redirect, request, url_for
from werkzeug.exceptions import HTTPException, NotFound

from api.access.needs import needs, open_to_all
from api.http.problems import STATUS, answer_http_exception, to_problem
from api.web import words
from api.web.pages import (
    access,
    compare,
    datasets,
    evaluation,
    functions,
    home,
    inside,
    job,
    jobs,
    models,
    new_job,
    problem_types,
    queue,
    trying,
    version,
)
from api.web.rendering import THEME_COOKIE, THEMES, loss_first, mark_code, render, shorten
from api.web.static_files import answer_file
from shared.access.rights import Scope
from shared.database.engine import DATABASE_ERRORS
from shared.errors import DatabaseUnavailable, FileNotFound, KeyExpired, NotAuthenticated, ServiceError

logger = logging.getLogger(__name__)

COOKIE_SECONDS = 365 * 24 * 3600
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "media-src blob:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
}


def show_static(digest: str, name: str) -> Response:  # noqa: ARG001 - of the address
    """Send a static file. An old digest gets the file of today: its page is about to be loaded again."""
    return answer_file(name)


def remember_choice() -> Response | None:
    """Store the language and the theme that a link chooses in cookies, and show the same page without the choice."""
    chosen = [
        (key, cookie, request.args[key])
        for key, cookie, known in (("lang", words.COOKIE, words.LANGUAGES), ("theme", THEME_COOKIE, THEMES))
        if request.args.get(key) in known
    ]
    if not chosen:
        return None
    rest = [(key, value) for key, value in request.args.items(multi=True) if key not in ("lang", "theme")]
    assert request.endpoint is not None  # noqa: S101 - a request of this blueprint
    response = make_response(redirect(_add_query(url_for(request.endpoint, **(request.view_args or {})), rest), 303))
    for _, cookie, value in chosen:
        response.set_cookie(
            cookie, value, COOKIE_SECONDS, path="/", secure=request.is_secure, httponly=True, samesite="Lax"
        )
    return response


def _add_query(path: str, query: list[tuple[str, str]]) -> str:
    return f"{path}?{urlencode(query)}" if query else path


def add_headers(response: Response) -> Response:
    """Add the headers of a page."""
    if response.mimetype == "text/html":
        response.headers.update(HEADERS)
        response.headers.setdefault("Cache-Control", "no-cache")
        response.vary.update(("Accept-Language", "Cookie"))
    return response


def show_problem(error: ServiceError) -> Response:
    """Show an error as a page."""
    again = url_for("web.show_sign_in") if request.endpoint == "web.finish_sign_in" else None  # its code is used
    response = render("problem.html", problem=to_problem(error), kind=error.kind, again=again)
    response.status_code = STATUS[type(error)]
    return response


def show_outage(error: Exception) -> Response:
    """Show that the database cannot be reached."""
    logger.error("the database was unreachable: %s", error)
    return show_problem(DatabaseUnavailable("The database is unreachable. Retry in a few seconds."))


def show_http_problem(error: HTTPException) -> Response:
    """Show an error of the web framework as a page."""
    if isinstance(error, NotFound):
        return show_problem(FileNotFound(f"There is no page {request.path[:200]!r}."))
    response = render(
        "problem.html", problem=None, kind="", status=error.code, phrase=HTTPStatus(error.code or 500).phrase
    )
    response.status_code = error.code or HTTPStatus.INTERNAL_SERVER_ERROR
    return response


def show_faults() -> Response:
    """Send the translations of faults for scripts: pairs of a pattern and a sentence."""
    response = jsonify(
        [(pattern.replace("(?P<", "(?<"), text) for pattern, text in words.load_faults(words.choose_language())]
    )
    response.vary.update(("Accept-Language", "Cookie"))
    response.headers["Cache-Control"] = "private, max-age=3600"
    return response


def answer_unrouted(error: HTTPException) -> Response:
    """Answer an address or a method that no view has: with a page below those of the pages, else with a problem."""
    if request.path.startswith(f"{bp.url_prefix}/"):
        return add_headers(show_http_problem(error))
    return answer_http_exception(error)


def show_missing(rest: str) -> Response:  # noqa: ARG001 - of the address
    """Answer an address that is no page. Raises FileNotFound."""
    raise FileNotFound(f"There is no page {request.path[:200]!r}.")


PAGES = (
    ("/", home.show_home),
    ("/jobs", jobs.show_jobs),
    ("/jobs/new", new_job.show_new_job),
    ("/jobs/<uuid:job_id>", job.show_job),
    ("/compare", compare.show_compare),
    ("/queue", queue.show_queue),
    ("/models", models.show_models),
    ("/models/<model>", models.show_model),
    ("/models/<model>/try", trying.show_try),
    ("/models/<model>/versions/<int:number>", version.show_version),
    ("/models/<model>/versions/<int:number>/evaluation", evaluation.show_evaluation),
    ("/models/<model>/versions/<int:number>/inside", inside.show_inside),
    ("/datasets", datasets.show_datasets),
    ("/datasets/new", datasets.show_new_dataset),
    ("/datasets/<name>", datasets.show_dataset),
    ("/sign-in", access.show_sign_in),
    ("/sign-in/oidc", access.finish_sign_in),
    ("/join", access.show_join),
    ("/account", access.show_account),
    ("/people", access.show_people),
    ("/people/<login>", access.show_person),
    ("/projects", access.show_projects),
    ("/projects/<project>", access.show_project),
    ("/audit", access.show_audit),
    ("/functions", functions.show_functions),
    ("/faults", show_faults),
    ("/problems", problem_types.show_problem_types),
    ("/problems/<kind>", problem_types.show_problem_type),
    ("/static/<digest>/<path:name>", show_static),
    ("/<path:rest>", show_missing),
)

OPEN_PAGES = {
    access.finish_sign_in,
    access.show_join,
    access.show_sign_in,
    show_faults,
    show_missing,
    show_static,
    problem_types.show_problem_types,
    problem_types.show_problem_type,
}

ADMIN_PAGES = {access.show_people, access.show_person, access.show_audit}

bp = Blueprint("web", __name__, url_prefix="/ui", template_folder="templates")
for path, view in PAGES:
    scope = Scope.ADMIN if view in ADMIN_PAGES else Scope.READ
    declare: Callable[..., Callable[..., Response]] = open_to_all if view in OPEN_PAGES else needs(scope)
    bp.add_url_rule(path, view_func=declare(view))
bp.add_app_template_filter(mark_code, "code")
bp.add_app_template_filter(shorten)
bp.add_app_template_filter(loss_first)
bp.add_app_template_filter(words.explain_problem, "explain")
bp.add_app_template_filter(words.translate_fault)
bp.before_request(remember_choice)
bp.after_request(add_headers)
bp.register_error_handler(ServiceError, show_problem)
for refusal in (NotAuthenticated, KeyExpired):
    bp.register_error_handler(refusal, lambda _: access.ask_to_sign_in())
bp.register_error_handler(HTTPException, show_http_problem)
for database_error in DATABASE_ERRORS:
    bp.register_error_handler(database_error, show_outage)
