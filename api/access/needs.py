"""Declare what a view needs, and check it before each request of Flask.

A view that declares nothing is refused to everybody who has to sign in. So a new view is closed until somebody thinks
about it.
"""

import re
from collections.abc import Callable
from typing import TypeVar

from flask import Flask, current_app, g, request
from werkzeug.exceptions import HTTPException
from werkzeug.routing.exceptions import RoutingException

from api.access.callers import EVERYBODY, NOBODY, Caller
from api.access.gate import Gate
from shared.access.rights import Scope
from shared.database.engine import DATABASE_ERRORS
from shared.errors import NotAllowed, ServiceError

ATTRIBUTE = "__needs__"
OPEN = "open"
"""The need of a view that answers everybody."""
SIGNED_IN = "signed-in"
"""The need of a view that answers everybody who has a valid key."""
OPEN_ENDPOINTS = frozenset({"docs", "openapi", "swagger.swagger", "swagger.static", "swagger.oauth2-redirect"})
"""The documentation, whose views are those of libraries. It is of the product, and says nothing about its users."""
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

    Raises what `Gate.identify` raises, NotAllowed, and ModelNotFound for a model that the key may not ask.
    """
    g.caller = NOBODY if gate.is_closed else EVERYBODY
    if not gate.is_closed or request.endpoint is None:  # an address that does not exist is answered with 404
        return
    need = find_need(current_app, request.endpoint)
    if need == OPEN:
        g.caller = _find_anyone(gate)
        return
    g.caller = caller = gate.identify(request.environ)
    if isinstance(need, Scope):
        caller.check(need)
    elif need != SIGNED_IN:
        raise NotAllowed(f"The view {request.endpoint!r} does not declare who may use it.")
    model = (request.view_args or {}).get("model")
    if isinstance(model, str):
        caller.check_model(model)


def _find_anyone(gate: Gate) -> Caller:
    """Return the caller of a view that is open to everybody. Some of these views show more to who signed in."""
    names = {"HTTP_AUTHORIZATION", "HTTP_X_API_KEY", "HTTP_COOKIE"}
    if request.endpoint == "web.show_static" or names.isdisjoint(request.environ):
        return NOBODY
    try:
        return gate.identify(request.environ)
    except (ServiceError, *DATABASE_ERRORS):
        return NOBODY
