"""Parse the number, or the id of a job, in a reference such as `digits@3`."""

import re
from uuid import UUID

JOB_ID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
MAX_DIGITS = 9
"""Every number of nine digits fits into a 32-bit column."""


def parse_version_number(text: str) -> int:
    """Parse the number of a version or a revision. Return 0, which none has, for all other text."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS else 0


def parse_job_id(text: str) -> UUID | None:
    """Parse the id of a job, in the form in which the API writes it. Returns None for all other text."""
    return UUID(text) if JOB_ID.fullmatch(text) is not None else None
