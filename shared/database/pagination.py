"""Define a page of a list for keyset pagination."""

from dataclasses import dataclass
from typing import Any

Key = tuple[Any, ...]
"""A sort key: what a cursor contains."""


@dataclass(frozen=True)
class Page:
    """A page of a list.

    Attributes:
        limit: maximum number of entries.
        after: sort key of the last entry of the previous page; None for the first page.
    """

    limit: int
    after: Key | None = None
