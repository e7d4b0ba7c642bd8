"""Whose request it is, until there are keys: what a proxy that authenticates says in a header."""

from dataclasses import dataclass

from flask import request

from shared.database.tables.jobs import ANONYMOUS
from shared.errors import InvalidRequest

MAX_OWNER_CHARACTERS = 255


@dataclass(frozen=True)
class Owners:
    """`header` is the one to believe, None for none; `most_queued` is how many jobs each may have waiting."""

    header: str | None
    max_queued: int

    def get_current(self) -> str:
        """Raises InvalidRequest for a name that cannot be kept."""
        name = request.headers.get(self.header, "").strip() if self.header is not None else ""
        if len(name) > MAX_OWNER_CHARACTERS or not name.isprintable():
            raise InvalidRequest(
                f"The header {self.header} must name an owner in {MAX_OWNER_CHARACTERS} printable characters."
            )
        return name or ANONYMOUS
