"""Declare what a view needs, and check it before each request of Flask.

A view that declares nothing is refused to everybody who has to sign in. So a new view is closed until somebody thinks
about it.
"""

import re
from collections.abc import Callable, Mapping
from typing import TypeVar

from flask import Flask, current_app, g, request
from werkzeug.exceptions import HTTPException
from werkzeug.routing.exceptions import RoutingException

from api.access.callers import EVERYBODY, NOBODY, Caller
from api.access.gate import Gate, brings_credential
from api.access.models import admit_anyone, check_model
from shared.access.rights import Scope
from shared.database.engine import DATABASE_ERRORS
from shared.errors import NotAllowed, ProjectNotFound, RateExceeded, ServiceError

ATTRIBUTE = "__needs__"
OPEN = "open"
"""The need of a view that answers everybody."""
SIGNED_IN = "signed-in"
"""The need of a view that answers everybody who has a valid key."""
OPEN_ENDPOINTS = frozenset({"docs", "openapi", "swagger.swagger", "swagger.static", "swagger.oauth2-redirect"})
"""The documentation, whose views are those of libraries. It is of the product, and says nothing about its users."""
MODEL_AND_ALIAS = frozenset({"mlflow.invoke", "hugging_face.classify"})
"""The views whose `name` is a model, or `model@alias`."""
MODEL_IN_REST = frozenset({"tf_serving.predict", "tf_serving.show"})
"""The views whose `rest` is a path with a model in it."""
NEW_MODELS = frozenset({"imports.import_model"})
"""The views that create the model that they name. They check its name themselves."""
MODEL_PATH = re.compile("models/([^/:]+)", re.IGNORECASE)
View = TypeVar("View", bound=Callable[..., object])


def needs(scope: Scope) -> Callable[[View], View]:
    """Declare the scope that a view needs."""

    def declare(view: View) -> View:
        setattr(view, ATTRIBUTE, scope)
        return view

    return declare


def open_to_all(view: View) -> View:
    """Declare that a view answers everybody, without a key."""
    setattr(view, ATTRIBUTE, OPEN)
    return view


def signed_in(view: View) -> View:
    """Declare that a view answers everybody with a valid key, also without any scope."""
    setattr(view, ATTRIBUTE, SIGNED_IN)
    return view


def find_need(app: Flask, endpoint: str) -> Scope | str | None:
    """Return what a view needs: a scope, `open` or `signed-in`; None for a view that declares nothing."""
    need: Scope | str | None = getattr(app.view_functions[endpoint], ATTRIBUTE, None)
    return OPEN if endpoint in OPEN_ENDPOINTS else need


def is_open(app: Flask, path: str, method: str) -> bool:
    """Return whether a path, written as in OpenAPI, answers everybody to this method."""
    written = re.sub(r"{(\w+)}", "0", path)
    try:
        endpoint, _ = app.url_map.bind("").match(written, method.upper())
    except (HTTPException, RoutingException):
        return False
    return find_need(app, endpoint) == OPEN


def admit(gate: Gate) -> None:
    """Find the caller of the current request, and check that it may do what it asks for.

    Raises what `Gate.identify` raises, NotAllowed, ModelNotFound for a model that it may not see, and ProjectNotFound.
    """
    g.caller = NOBODY if gate.is_closed else EVERYBODY
    if not gate.is_closed or request.endpoint is None:  # an address that does not exist is answered with 404
        return
    need = find_need(current_app, request.endpoint)
    if need == OPEN:
        g.caller = _find_anyone(gate)
        return
    model = _find_model_name(request.view_args or {})
    if need is Scope.PREDICT and model is not None and not brings_credential(request.environ):
        anyone = admit_anyone(gate, model)
        if anyone is not None:
            g.caller = anyone
            return
    g.caller = caller = gate.identify(request.environ)
    if caller.bucket is not None and not caller.take_turn():
        raise RateExceeded(f"The key {caller.key_id!r} may send {caller.bucket.rate} requests a second. Send fewer.")
    if isinstance(need, Scope):
        caller.check(need)
        _check_objects(gate, caller, need, model)
    elif need != SIGNED_IN:
        raise NotAllowed(f"The view {request.endpoint!r} does not declare who may use it.")


def _check_objects(gate: Gate, caller: Caller, need: Scope, model: str | None) -> None:
    """Check that the caller has a scope on the model and in the project that the path of the request names.

    Raises ModelNotFound, ProjectNotFound or NotAllowed.
    """
    if model is not None and request.endpoint not in NEW_MODELS:
        check_model(gate, caller, model, need)
    project = (request.view_args or {}).get("project")
    if isinstance(project, str) and not caller.sees_all:
        if project not in caller.roles:
            raise ProjectNotFound(f"There is no project {project!r}. GET /api/v1/projects lists yours.")
        caller.check(need, project)


def _find_model_name(arguments: Mapping[str, object]) -> str | None:
    """Return the name of the model in the path of the current request; None if it names none."""
    if "model" in arguments:
        return str(arguments["model"])
    if request.endpoint in MODEL_AND_ALIAS:
        return str(arguments.get("name")).partition("@")[0]
    if request.endpoint in MODEL_IN_REST and (found := MODEL_PATH.match(str(arguments.get("rest")))) is not None:
        return found[1]
    return None


def _find_anyone(gate: Gate) -> Caller:
    """Return the caller of a view that is open to everybody. Some of these views show more to who signed in."""
    if request.endpoint == "web.show_static" or not brings_credential(request.environ):
        return NOBODY
    try:
        return gate.identify(request.environ)
    except (ServiceError, *DATABASE_ERRORS):
        return NOBODY
