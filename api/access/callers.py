"""Define the caller of a request: who it is, and what it may do."""

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal

from flask import g, request

from shared import logs
from shared.access.audit import Actor
from shared.access.rights import Role, Scope, find_least_role
from shared.database.tables.jobs import ANONYMOUS
from shared.errors import AccessIsOff, ModelNotFound, NotAllowed

MAX_REMEMBERED_MODELS = 1000
"""The most names of models whose answer a caller remembers: names of requests can be anything."""


@dataclass(frozen=True)
class Caller:
    """The sender of a request.

    Attributes:
        role: None where nobody signs in.
        models: patterns of the models that it may ask; None for all.
        key_id: the key of the request or of its session; None for others.
        via: `open` where nobody signs in, and `nobody` for one who did not.
        until: time of `time.monotonic` until which this is known to be true.
        session: the sha256 of the token of the browser session; None for others.
    """

    login: str
    role: Role | None
    scopes: frozenset[Scope]
    models: tuple[str, ...] | None = None
    key_id: str | None = None
    via: Literal["open", "nobody", "key", "session", "proxy"] = "open"
    until: float = float("inf")
    session: str | None = None
    _may_predict: dict[str, bool] = field(default_factory=dict, repr=False, compare=False)

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes

    def may_predict(self, model: str) -> bool:
        """Return whether the caller may ask a model for predictions."""
        known = self._may_predict.get(model)
        if known is None:
            known = Scope.PREDICT in self.scopes and self.sees(model)
            if len(self._may_predict) < MAX_REMEMBERED_MODELS:
                self._may_predict[model] = known
        return known

    def sees(self, model: str) -> bool:
        """Return whether the patterns of the key include a model."""
        return self.models is None or any(fnmatchcase(model, pattern) for pattern in self.models)

    def check_model(self, model: str) -> None:
        """Raise ModelNotFound if the key is limited to other models."""
        if not self.sees(model):
            raise ModelNotFound(f"There is no model {model!r} that this key may ask.")

    def check(self, scope: Scope) -> None:
        """Raise NotAllowed if the caller does not have a scope. The message says whether role or key is to blame."""
        if scope in self.scopes:
            return
        least = find_least_role(scope)
        if self.role is not None and list(Role).index(self.role) < list(Role).index(least):
            raise NotAllowed(f"This needs the role '{least}', and {self.login!r} is a '{self.role}'. Ask an admin.")
        raise NotAllowed(f"This needs a key with the scope '{scope}'. Use another key.")


EVERYBODY = Caller(ANONYMOUS, None, frozenset(Scope))
"""The caller of every request where nobody signs in."""
NOBODY = Caller("", None, frozenset(), via="nobody")
"""The caller of a view that is open to everybody, and of an address that does not exist."""


def get_caller() -> Caller:
    """Return the caller of the current request of Flask; NOBODY before `admit` has found it."""
    caller: Caller = g.get("caller", NOBODY)
    return caller


def get_signed_in() -> Caller:
    """Return the caller of the current request of Flask. Raises AccessIsOff where nobody signs in."""
    caller = get_caller()
    if caller.via == "open":
        raise AccessIsOff("There are no users: everybody may do everything. Set TRAINYARD_AUTH=keys and start again.")
    return caller


def make_actor() -> Actor:
    """Return the caller of the current request as the actor of a change. Raises AccessIsOff where nobody signs in."""
    caller = get_signed_in()
    return Actor(caller.login, caller.via, caller.key_id, logs.get_context("request_id"), request.remote_addr)
