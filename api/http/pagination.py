"""Parse and make the cursors of lists. A cursor contains the sort key of the last entry of a page, in base64."""

import base64
import binascii
import json

from pydantic import BaseModel, ConfigDict, Field

from shared.database.pagination import Key, Page
from shared.errors import InvalidRequest


def parse_page(limit: int, cursor: str | None, key_types: tuple[type, ...]) -> Page:
    """Return the page that a query requests. `key_types` are the types of the list's sort key.

    Raises InvalidRequest if the cursor contains no such key.
    """
    if cursor is None:
        return Page(limit)
    try:
        key = json.loads(base64.urlsafe_b64decode(cursor.encode()))
    except (binascii.Error, UnicodeError, ValueError, RecursionError):
        key = None
    if not isinstance(key, list) or [type(part) for part in key] != list(key_types):
        raise InvalidRequest(f"The cursor {cursor[:100]!r} is not valid for this list. Pass `next` unchanged.")
    return Page(limit, tuple(key))


def make_next_cursor(page: Page, keys: list[Key]) -> str | None:
    """Return the cursor of the next page; None if this page is not full, because then it is the last."""
    if len(keys) < page.limit:
        return None
    return base64.urlsafe_b64encode(json.dumps(keys[-1]).encode()).decode()


class PageQuery(BaseModel):
    """Query parameters of a list."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(default=50, ge=1, le=200)
    cursor: str | None = Field(default=None, description="The value of `next` in the previous page.", max_length=500)
