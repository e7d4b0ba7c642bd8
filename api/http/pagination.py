"""Pages of a list by keyset: a cursor holds the sort key of the last entry shown, never an offset."""

import base64
import binascii
import json
from dataclasses import dataclass

from shared.errors import InvalidRequest

Key = tuple[str | int, ...]


@dataclass(frozen=True)
class Page:
    """`after` is the sort key of the last entry already shown; None for the first page."""

    limit: int
    after: Key | None = None


def page_of(limit: int, cursor: str | None, key_types: tuple[type, ...]) -> Page:
    """Raises InvalidRequest for a cursor that no list of this kind gave out."""
    if cursor is None:
        return Page(limit)
    try:
        key = json.loads(base64.urlsafe_b64decode(cursor.encode()))
    except (binascii.Error, UnicodeError, ValueError, RecursionError):
        key = None
    if not isinstance(key, list) or [type(part) for part in key] != list(key_types):
        raise InvalidRequest(f"The cursor {cursor[:100]!r} was not given out by this list: pass `next` on as it came.")
    return Page(limit, tuple(key))


def next_cursor(page: Page, keys: list[Key]) -> str | None:
    """None where the page was not full, and nothing can follow."""
    if len(keys) < page.limit:
        return None
    return base64.urlsafe_b64encode(json.dumps(keys[-1]).encode()).decode()
