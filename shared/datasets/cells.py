"""Read the cells of a table of text: numbers in the format of the file, missing values, and a header."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import isclose
from typing import Literal

MISSING_VALUES = frozenset({"", "?", "na", "n/a", "nan", "null", "none", "-"})
"""Cells that count as a missing value, in lower case."""
MAX_FLOAT32 = 3.4028234663852886e38
"""The largest 32-bit number: a larger one becomes infinite."""
WORDS = (("false", "true"), ("no", "yes"))
"""The words for 0 and 1 of a column, in lower case."""
YEARS = (1800, 2200)
MIN_COUNTED = 4
"""A first row of so many numbers that count 0, 1, 2, … has the names that programs give to columns."""
MIN_PROGRESSION = 3
_GROUPED_BY_SPACE = re.compile(r"[+-]?\d{1,3}(?:[ \u00a0\u202f'\u2019]\d{3})+(?:[.,]\d+)?")
_SPACES = re.compile(r"[ \u00a0\u202f'\u2019]")
_GROUPS = {mark: re.compile(rf"[+-]?[1-9]\d{{0,2}}(?:{re.escape(mark)}\d{{3}})+") for mark in ",."}
_DECIMAL = {mark: re.compile(rf"[+-]?\d*{re.escape(mark)}\d+(?:[eE][+-]?\d+)?") for mark in ",."}

DecimalMark = Literal[".", ","]


@dataclass(frozen=True)
class NumberFormat:
    """How a file writes numbers.

    Attributes:
        decimal: the decimal mark, a point or a comma.
        has_thousands: whether the other mark separates thousands.
    """

    decimal: DecimalMark = "."
    has_thousands: bool = False

    @property
    def separator(self) -> DecimalMark:
        """Return the mark that is not the decimal mark."""
        return "," if self.decimal == "." else "."

    def parse(self, text: str) -> float | None:
        """Parse a number; the result can be infinite or NaN. Returns None for other text.

        `1_000` is not a number, although Python's `float` accepts it.
        """
        try:
            return float(text) if self.decimal == "." and "_" not in text else self._parse(text)
        except ValueError:
            return self._parse(text)

    def _parse(self, text: str) -> float | None:
        if "_" in text:
            return None
        text = _remove_spaces(text)
        whole, mark, fraction = text.partition(self.decimal)
        if self.separator in whole:
            if not (self.has_thousands and _GROUPS[self.separator].fullmatch(whole)):
                return None
            whole = whole.replace(self.separator, "")
        if self.separator in fraction:
            return None
        try:
            return float(f"{whole}.{fraction}" if mark else whole)
        except ValueError:
            return None


def _remove_spaces(text: str) -> str:
    """Remove spaces and apostrophes between groups of thousands."""
    return _SPACES.sub("", text) if _GROUPED_BY_SPACE.fullmatch(text) else text


POINT = NumberFormat()
WITH_THOUSANDS: dict[DecimalMark, NumberFormat] = {
    ",": NumberFormat(",", has_thousands=True),
    ".": NumberFormat(".", has_thousands=True),
}
"""The formats by their decimal mark."""
ANY_FORMATS = (POINT, *WITH_THOUSANDS.values())


def is_number(text: str) -> bool:
    """Return whether the text is a number in any format."""
    return any(number_format.parse(text) is not None for number_format in ANY_FORMATS)


@dataclass
class FormatEvidence:
    """What the cells of a file tell about the format of its numbers.

    Attributes:
        certain: the format, as soon as a cell allows only one.
        grouped: for each mark, the columns with a cell such as `15,000`, which can be thousands or a fraction; with the
            first such cell.
        small: columns with whole numbers of at most three digits.
        large: columns with whole numbers of more than three digits.
    """

    certain: NumberFormat | None = None
    grouped: dict[str, dict[int, str]] = field(default_factory=lambda: {",": {}, ".": {}})
    small: set[int] = field(default_factory=set)
    large: set[int] = field(default_factory=set)

    def add(self, column: int, text: str) -> None:
        """Add a cell. Text that is no number tells nothing."""
        text = _remove_spaces(text)
        has_comma, has_point = "," in text, "." in text
        if not (has_comma or has_point):
            if text.isdecimal():
                (self.small if len(text) <= 3 else self.large).add(column)  # noqa: PLR2004 - the digits of a group
            return
        if has_comma and has_point:
            decimal: DecimalMark = "," if text.rindex(",") > text.rindex(".") else "."
            whole, _, _ = text.rpartition(decimal)
            if _GROUPS["," if decimal == "." else "."].fullmatch(whole):
                self.certain = NumberFormat(decimal, has_thousands=True)
            return
        mark: DecimalMark = "," if has_comma else "."
        if _GROUPS[mark].fullmatch(text):
            if text.count(mark) > 1:
                self.certain = NumberFormat("." if mark == "," else ",", has_thousands=True)
            else:
                self.grouped[mark].setdefault(column, text)
        elif _DECIMAL[mark].fullmatch(text):
            self.certain = NumberFormat(mark, has_thousands=True)


def is_header(first: Sequence[str], rest: Sequence[Sequence[str]]) -> bool:
    """Return whether the first row of a table contains the names of the columns. `rest` are some of the next rows.

    It does if it has a word in a column whose other values are mostly numbers, or if its numbers are names: years, a
    count of the columns, or others at equal distances that the rows below do not have.
    A single row contains the names if none of its cells is a number.
    """
    if not rest:
        return not any(map(is_number, first))
    words = [index for index, cell in enumerate(first) if cell.lower() not in MISSING_VALUES and not is_number(cell)]
    for index in words:
        below = _list_below(rest, index)
        if below and sum(map(_is_value, below)) > len(below) / 2 and not _is_value(first[index]):
            return True
    return _has_numeric_names(first, rest, words)


def _is_value(cell: str) -> bool:
    """Return whether a cell is a number, or a word for 0 or 1."""
    return any(cell.lower() in words for words in WORDS) or is_number(cell)


def _list_below(rest: Sequence[Sequence[str]], index: int) -> list[str]:
    return [cells[index] for cells in rest if index < len(cells) and cells[index].lower() not in MISSING_VALUES]


def _has_numeric_names(first: Sequence[str], rest: Sequence[Sequence[str]], words: list[int]) -> bool:
    """Return whether the numbers of the first row are names. A word must not occur again in its column."""
    indices = [index for index, cell in enumerate(first) if POINT.parse(cell) is not None]
    names = _to_numbers(first, indices)
    is_row = len(names) < 2 or len(indices) + len(words) < len(first) - 1  # noqa: PLR2004 - one cell may be empty
    if is_row or any(first[index] in _list_below(rest, index) for index in words):
        return False
    below = [_to_numbers(cells, indices) for cells in rest]
    if all(number.is_integer() and YEARS[0] <= number < YEARS[1] for number in names) and _is_ascending(names):
        years = [number for row in below for number in row if YEARS[0] <= number < YEARS[1]]
        return len(years) < sum(map(len, below)) / 2
    if not _is_progression(names) or sum(map(_is_progression, below)) > len(below) / 2:
        return False
    has_fractions = any(not number.is_integer() for row in below for number in row)
    step = names[1] - names[0]
    if names[0] == 0 and step == 1 and len(names) >= MIN_PROGRESSION:
        return has_fractions or len(names) >= MIN_COUNTED
    if len(names) < MIN_COUNTED:
        return bool(words) and len(names) >= MIN_PROGRESSION
    return bool(words) or (has_fractions and all(number.is_integer() for number in names))


def _to_numbers(cells: Sequence[str], indices: Sequence[int]) -> list[float]:
    parsed = (POINT.parse(cells[index]) for index in indices if index < len(cells))
    return [number for number in parsed if number is not None]


def _is_ascending(numbers: Iterable[float]) -> bool:
    return all(one < other for one, other in pairwise(numbers))


def _is_progression(numbers: Sequence[float]) -> bool:
    """Return whether the numbers rise by the same step."""
    steps = [other - one for one, other in pairwise(numbers)]
    return bool(steps) and steps[0] > 0 and all(isclose(step, steps[0], rel_tol=1e-6) for step in steps)
