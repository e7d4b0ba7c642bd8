"""Parse the number, or the id of a job, in a reference such as `digits@3`."""

from uuid import UUID

ID_LENGTH, ID_HYPHENS = 36, 4
MAX_DIGITS = 9
"""Every number of nine digits fits into a 32-bit column."""


def parse_version_number(text: str) -> int:
    """Parse the number of a version or a revision. Return 0, which none has, for all other text."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS else 0


def parse_job_id(text: str) -> UUID | None:
    """Parse the id of a job, in its usual form with four hyphens. Returns None for all other text."""
    if len(text) != ID_LENGTH or text.count("-") != ID_HYPHENS:
        return None
    try:
        return UUID(text)
    except ValueError:
        return None
