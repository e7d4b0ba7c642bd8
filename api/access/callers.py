"""Define the caller of a request: who it is, and what it may do."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Literal

from flask import g, has_request_context, request

from shared import logs
from shared.access.audit import Actor
from shared.access.projects import Standing
from shared.access.rights import SCOPES_OF_ROLE, Role, Scope, find_least_role, list_scopes
from shared.access.visibility import Viewer
from shared.database.tables.jobs import ANONYMOUS
from shared.errors import AccessIsOff, ModelNotFound, NotAllowed, list_names

MAX_REMEMBERED_MODELS = 1000
"""The most names of models whose answer a caller remembers: names of requests can be anything."""
NOWHERE = Standing(is_admin=False, roles=MappingProxyType({}))


class TokenBucket:
    """Lets `rate` requests a second pass, and as many at once after a pause. Safe for threads."""

    clock = staticmethod(time.monotonic)

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self._tokens = float(rate)
        self._filled_at = self.clock()
        self._lock = threading.Lock()

    def take(self) -> bool:
        """Take a token. Returns whether there was one."""
        with self._lock:
            time_now = self.clock()
            self._tokens = min(self.rate, self._tokens + (time_now - self._filled_at) * self.rate)
            self._filled_at = time_now
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True


@dataclass(frozen=True)
class Caller:
    """The sender of a request.

    Attributes:
        standing: whether it is an admin, and its roles by project.
        scopes: those that its key has, and its user in one project or another.
        models: patterns of the models that it may ask; None for all.
        key_id: the key of the request or of its session; None for others.
        via: `open` where nobody signs in, and `nobody` for one who did not.
        until: time of `time.monotonic` until which this is known to be true.
        session: the sha256 of the token of the browser session; None for others.
        bucket: limits its requests; None for no limit.
    """

    login: str
    standing: Standing
    scopes: frozenset[Scope]
    models: tuple[str, ...] | None = None
    key_id: str | None = None
    via: Literal["open", "nobody", "key", "session", "proxy"] = "open"
    until: float = float("inf")
    session: str | None = None
    bucket: TokenBucket | None = None
    _predictable: dict[str, bool] = field(default_factory=dict, repr=False, compare=False)

    @property
    def is_signed_in(self) -> bool:
        return self.via not in ("open", "nobody")

    @property
    def sees_all(self) -> bool:
        """Return whether no project hides anything from the caller."""
        return self.standing.is_admin

    @property
    def roles(self) -> Mapping[str, Role]:
        """Return the roles of the caller by project. An admin can have some too, and does not need them."""
        return self.standing.roles

    def may(self, scope: Scope, project: str | None = None) -> bool:
        """Return whether the caller has a scope in a project; with None in one project or another."""
        if scope not in self.scopes:
            return False
        if project is None or self.standing.is_admin:
            return True
        role = self.roles.get(project)
        return role is not None and scope in SCOPES_OF_ROLE[role]

    def take_turn(self) -> bool:
        """Count a request. Returns whether the rate of the key allows it."""
        return self.bucket is None or self.bucket.take()

    def may_predict(self, model: str) -> bool:
        """Return whether the caller may ask a model for predictions, as far as that is in memory."""
        known = self._predictable.get(model)
        if known is None:
            known = self.sees_all and Scope.PREDICT in self.scopes and self.includes(model)
            if self.sees_all:
                self._remember(model, may_predict=known)
        return known

    def allow_predictions(self, model: str) -> None:
        """Remember that the caller may ask a model for predictions."""
        self._remember(model, may_predict=True)

    def includes(self, model: str) -> bool:
        """Return whether the patterns of the key include a model."""
        return self.models is None or any(fnmatchcase(model, pattern) for pattern in self.models)

    def check(self, scope: Scope, project: str | None = None) -> None:
        """Raise NotAllowed if the caller does not have a scope in a project; with None in one project or another.

        The message says whether role or key is to blame.
        """
        if self.may(scope, project):
            return
        asked = self.standing.archived.intersection(self.roles if project is None else [project])
        if asked and (project is not None or len(asked) == len(self.roles)):
            names = list_names(sorted(asked))
            raise NotAllowed(f"This can only be read, as it is archived: {names}. Ask an admin to open it again.")
        if self.is_signed_in and not self.sees_all and not self.roles:
            raise NotAllowed(f"{self.login!r} is in no project. Ask an admin, or a maintainer of one, to add you.")
        least = find_least_role(scope)
        roles = self.standing.list_roles()
        if project is not None:
            roles = [role for name, role in self.roles.items() if name == project]
        if all(list(Role).index(role) < list(Role).index(least) for role in roles):
            place = f" in the project {project!r}" if project is not None else ""
            own = f"is a '{roles[-1]}'" if roles else "has none"
            raise NotAllowed(f"This needs the role '{least}'{place}, and {self.login!r} {own}. Ask {_name(least)}.")
        raise NotAllowed(f"This needs a key with the scope '{scope}'. Use another key.")

    def check_whole(self, what: str) -> None:
        """Check that the caller may do all that its user may, and not only what a limited key may.

        `what` completes "Only a key that may do all that its user may …". Raises NotAllowed.
        """
        if self.scopes != list_scopes(self.standing.list_roles()) or self.models is not None:
            raise NotAllowed(f"Only a key that may do all that its user may {what}. Use such a key.")

    def choose_project(self, asked: str | None = None) -> str | None:
        """Return the project of something new: `asked`, else the first in which the caller may train; None for none."""
        if asked is not None:
            return asked
        return next((name for name in self.roles if self.may(Scope.TRAIN, name)), None)

    def list_managed(self) -> list[str] | None:
        """Return the projects in which the caller has the scope `manage`; None for all."""
        return None if self.sees_all else [name for name in self.roles if self.may(Scope.MANAGE, name)]

    def make_viewer(self) -> Viewer | None:
        """Return what the caller sees; None for everything."""
        if self.sees_all:
            return None
        return Viewer.from_roles(self.login, self.roles)

    def _remember(self, model: str, *, may_predict: bool) -> None:
        if len(self._predictable) < MAX_REMEMBERED_MODELS:
            self._predictable[model] = may_predict


def _name(least: Role) -> str:
    return "an admin" if least is Role.ADMIN else "a maintainer of the project"


EVERYBODY = Caller(ANONYMOUS, Standing(is_admin=True, roles=NOWHERE.roles), frozenset(Scope))
"""The caller of every request where nobody signs in."""
NOBODY = Caller("", NOWHERE, frozenset(), via="nobody")
"""The caller of a view that is open to everybody, and of an address that does not exist."""


def get_caller() -> Caller:
    """Return the caller of the current request of Flask; NOBODY before `admit` has found it."""
    caller: Caller = g.get("caller", NOBODY)
    return caller


def find_viewer() -> Viewer | None:
    """Return what the caller of the current request sees; None for everything, also outside of a request."""
    return get_caller().make_viewer() if has_request_context() else None


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


def make_missing_model(model: str) -> ModelNotFound:
    """Make the error for a model that the caller may not see. It reads like that for one that does not exist."""
    return ModelNotFound(f"There is no model {model!r}. GET /api/v1/models lists the models.")
