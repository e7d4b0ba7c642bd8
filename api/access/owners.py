"""Determine the owner of a request from a header that an authenticating proxy sets.

The API itself does not authenticate. The proxy must remove this header from the requests of its clients.
"""

from dataclasses import dataclass

from flask import request

from shared.database.tables.jobs import ANONYMOUS
from shared.errors import InvalidRequest

MAX_OWNER_CHARACTERS = 255


@dataclass(frozen=True)
class Owners:
    """Source of the owner of a request, and the limit per owner.

    Attributes:
        header: name of the header that contains the owner. None: every owner is `anonymous`.
        max_queued: maximum number of queued jobs of one owner.
    """

    header: str | None
    max_queued: int

    def get_current(self) -> str:
        """Return the owner of the current request; `anonymous` without a header.

        Raises InvalidRequest for a name that is too long or has unprintable characters.
        """
        name = request.headers.get(self.header, "").strip() if self.header is not None else ""
        if len(name) > MAX_OWNER_CHARACTERS or not name.isprintable():
            raise InvalidRequest(
                f"The header {self.header} has {len(name)} characters. It must have at most {MAX_OWNER_CHARACTERS} "
                "characters, all of them printable."
            )
        return name or ANONYMOUS
