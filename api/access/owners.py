"""Determine the owner of the jobs of a request: the user that the gate found, or who a proxy's header names.

Without keys, the API itself does not authenticate. The proxy must remove this header from the requests of its clients.
"""

from dataclasses import dataclass

from flask import request

from api.access.callers import get_caller
from shared.database.tables.jobs import ANONYMOUS
from shared.errors import InvalidRequest

MAX_OWNER_CHARACTERS = 255


@dataclass(frozen=True)
class Owners:
    """Source of the owner of a request, and the limit per owner.

    Attributes:
        header: name of the header that contains the owner where nobody signs in. None: every owner is `anonymous`.
        max_queued: maximum number of queued jobs of one owner.
        names_per_user: whether a member publishes under names that end with its login.
    """

    header: str | None
    max_queued: int
    names_per_user: bool = False

    def get_current(self) -> str:
        """Return the owner of the current request: its caller, else who the header names, else `anonymous`.

        Raises InvalidRequest for a name that is empty, is too long or has unprintable characters. The server passes
        on a header with other characters than ASCII as empty; its sender must not become `anonymous`.
        """
        caller = get_caller()
        if caller.is_signed_in:
            return caller.login
        if self.header is None or self.header not in request.headers:
            return ANONYMOUS
        return check_owner(request.headers[self.header], self.header)


def check_owner(name: str, header: str) -> str:
    """Return the name of an owner from a header, without spaces around it. Raises InvalidRequest."""
    name = name.strip()
    if not name or len(name) > MAX_OWNER_CHARACTERS or not name.isprintable():
        raise InvalidRequest(
            f"The header {header} has {len(name)} characters that can be read. It must have 1 to "
            f"{MAX_OWNER_CHARACTERS} characters, all of them printable ASCII, such as a percent-encoded name."
        )
    return name
