"""Write tables as CSV."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


def write_rows(rows: Iterable[Sequence[Any]]) -> str:
    """Write rows as CSV. Texts that a spreadsheet would compute get an apostrophe."""
    buffer = io.StringIO()
    csv.writer(buffer).writerows([_quote_formula(cell) for cell in row] for row in rows)
    return buffer.getvalue()


def _quote_formula(cell: object) -> object:
    """Put an apostrophe before a text that a spreadsheet would compute as a formula.

    Source: https://owasp.org/www-community/attacks/CSV_Injection
    """
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA_STARTS) else cell
