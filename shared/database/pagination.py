"""Describe one page of a list: how many entries, and after which sort key."""

from dataclasses import dataclass

Key = tuple[str | int, ...]


@dataclass(frozen=True)
class Page:
    """`after` is the sort key of the last entry already shown; None for the first page."""

    limit: int
    after: Key | None = None
