"""Pages of a list by keyset: a cursor holds the sort key of the last entry shown, never an offset."""

import base64
import binascii
import json

from pydantic import BaseModel, ConfigDict, Field

from shared.database.pagination import Key, Page
from shared.errors import InvalidRequest


def parse_page(limit: int, cursor: str | None, key_types: tuple[type, ...]) -> Page:
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


def make_next_cursor(page: Page, keys: list[Key]) -> str | None:
    """None where the page was not full, and nothing can follow."""
    if len(keys) < page.limit:
        return None
    return base64.urlsafe_b64encode(json.dumps(keys[-1]).encode()).decode()


class PageQuery(BaseModel):
    """How much of a list, and from where on."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(default=50, ge=1, le=200)
    cursor: str | None = Field(default=None, description="`next` of the page before", max_length=500)
