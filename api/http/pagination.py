"""Parse and make the cursors of lists. A cursor contains the sort key of the last entry of a page, in base64."""

import base64
import binascii
from typing import Annotated, Any
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import to_json

from shared.database.pagination import Key, Page
from shared.errors import InvalidRequest

_Number = Annotated[int, Field(strict=True, ge=0, lt=2**31)]
_Text = Annotated[str, Field(strict=True, max_length=500, pattern=r"^[^\x00]*$")]
_Time = Annotated[AwareDatetime, Field(strict=True)]
_Id = Annotated[UUID, Field(strict=True)]
KeyAdapter = TypeAdapter[Any]
"""Parses the sort key of a list from JSON, and limits it to what the database can compare."""
NUMBER_KEY: KeyAdapter = TypeAdapter(tuple[_Number])
TEXT_KEY: KeyAdapter = TypeAdapter(tuple[_Text])
TIME_KEY: KeyAdapter = TypeAdapter(tuple[_Time, _Id])


def parse_page(limit: int, cursor: str | None, key: KeyAdapter) -> Page:
    """Return the page that a query requests. `key` parses the sort key of the list.

    Raises InvalidRequest if the cursor contains no such key.
    """
    if cursor is None:
        return Page(limit)
    try:
        return Page(limit, key.validate_json(base64.urlsafe_b64decode(cursor.encode())))
    except (binascii.Error, UnicodeError, ValidationError):
        raise InvalidRequest(
            f"The cursor {cursor[:100]!r} is not valid for this list. Pass `next` unchanged."
        ) from None


def make_next_cursor(page: Page, keys: list[Key]) -> str | None:
    """Return the cursor of the next page; None if this page is not full, because then it is the last."""
    if len(keys) < page.limit:
        return None
    return base64.urlsafe_b64encode(to_json(keys[-1])).decode()


class PageQuery(BaseModel):
    """Query parameters of a list."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(default=50, ge=1, le=200)
    cursor: str | None = Field(default=None, description="The value of `next` in the previous page.", max_length=500)


class ProjectQuery(PageQuery):
    """Query parameters of a list of what projects have."""

    project: str | None = Field(default=None, description="Only what belongs to this project.", max_length=100)
