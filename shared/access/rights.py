"""Define what a caller may do: the role of a user, and the scopes of a key."""

from collections.abc import Iterable
from enum import StrEnum


class Scope(StrEnum):
    """A kind of request. A view needs one scope; a caller has those of its key that its role has too.

    `read`: see everything of one's projects. `predict`: ask models. `train`: submit jobs and upload data. `manage`:
    change what others own, delete, and invite. `admin`: users, keys, projects and the audit log. `metrics`: the metrics
    of the service, which name the models of all projects.
    """

    READ = "read"
    PREDICT = "predict"
    TRAIN = "train"
    MANAGE = "manage"
    ADMIN = "admin"
    METRICS = "metrics"


DEFAULT_PROJECT = "default"
"""The project of all that was there before there were projects. There is always one of this name."""


class Role(StrEnum):
    """The role of a user in a project, from the fewest rights to all of them. An admin has all of them everywhere."""

    VIEWER = "viewer"
    MEMBER = "member"
    MAINTAINER = "maintainer"
    ADMIN = "admin"


SCOPES_OF_ROLE: dict[Role, frozenset[Scope]] = {
    Role.VIEWER: frozenset({Scope.READ, Scope.PREDICT}),
    Role.MEMBER: frozenset({Scope.READ, Scope.PREDICT, Scope.TRAIN}),
    Role.MAINTAINER: frozenset({Scope.READ, Scope.PREDICT, Scope.TRAIN, Scope.MANAGE}),
    Role.ADMIN: frozenset(Scope),
}


def list_scopes(roles: Iterable[Role]) -> frozenset[Scope]:
    """Return the scopes that a user with these roles has in one project or another."""
    return frozenset(scope for role in roles for scope in SCOPES_OF_ROLE[role])


def find_least_role(scope: Scope) -> Role:
    """Return the role with the fewest rights that has a scope."""
    return next(role for role in Role if scope in SCOPES_OF_ROLE[role])


def sort_scopes(scopes: frozenset[Scope]) -> list[Scope]:
    """Return scopes in the order in which they are declared."""
    return [scope for scope in Scope if scope in scopes]
