"""Choose the project whose jobs, models or data sets a list shows, or to which something new belongs."""

from flask import request
from sqlalchemy.orm import Session

from api.access.callers import get_caller
from shared.access import projects
from shared.access.rights import Scope

MAX_CHARACTERS = 100


def read_project() -> str | None:
    """Return the project that the address of a list asks for; None for all."""
    return request.args.get("project", "")[:MAX_CHARACTERS] or None


def list_projects(session: Session) -> list[str]:
    """Return the projects to choose from: those of the caller, all of them for an admin, none where nobody signs in."""
    caller = get_caller()
    if not caller.is_signed_in:
        return []
    return [one.name for one in projects.list_projects(session, None if caller.sees_all else caller.roles)]


def list_trainable() -> list[str]:
    """Return the projects in which the caller may train, in the order in which it joined them."""
    caller = get_caller()
    return [name for name in caller.roles if caller.may(Scope.TRAIN, name) and name not in caller.standing.archived]
