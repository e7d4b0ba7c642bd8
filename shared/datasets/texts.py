"""Check texts, and tell the columns that have texts."""

import re
from collections.abc import Sequence

from shared.datasets.cells import MISSING_VALUES, is_number

MAX_TEXT_CHARACTERS = 2**21
MAX_NUMBER_SHARE = 0.1
MIN_DISTINCT_SHARE = 0.8
MIN_SPACED_SHARE = 0.5
"""A column has texts if at most so many of its cells are numbers, at least so many differ and have a space."""
TEXT_COLUMN = "text"
"""The name of the column for versions that know none."""
_NAME = re.compile(r"[^\W\d][\w.-]{0,49}")
"""The name of a column: one word."""


def find_text_fault(text: str) -> str | None:
    """Return what is wrong with a text, as the end of a sentence; None if nothing is."""
    if len(text) > MAX_TEXT_CHARACTERS:
        return f"has {len(text):,} characters; the limit is {MAX_TEXT_CHARACTERS:,}. Split it into several"
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"has an unpaired surrogate, {text[error.start]!a}, at position {error.start}. Send valid Unicode"
    return None


def has_texts(cells: Sequence[str]) -> bool:
    """Return whether the cells of a column are texts: hardly any numbers, nearly all different, many with a space."""
    present = [cell for cell in cells if cell.lower() not in MISSING_VALUES]
    if not present:
        return False
    count = len(present)
    return (
        sum(map(is_number, present)) <= MAX_NUMBER_SHARE * count
        and len(set(present)) >= MIN_DISTINCT_SHARE * count
        and sum(" " in cell for cell in present) >= MIN_SPACED_SHARE * count
    )


def names_texts(first: Sequence[str], rest: Sequence[Sequence[str]]) -> bool:
    """Return whether the first row has the names of a table with texts.

    All its cells are single words that do not occur below, and a column below has texts.
    """
    if not all(_NAME.fullmatch(name) for name in first):
        return False
    columns = [[cells[index] for cells in rest if index < len(cells)] for index in range(len(first))]
    return any(map(has_texts, columns)) and not any(name in cells for name, cells in zip(first, columns, strict=True))


def describe_unknown_name(name: str, wanted: str) -> str:
    """Say what to do with a first row that looks like the name of another column than that of a version."""
    return (
        f"The first row, {name!r}, looks like the name of the column, and the version takes {wanted!r}. Rename it to "
        f"{wanted!r}; or, if it is a text, write {wanted!r} into a row above it."
    )
