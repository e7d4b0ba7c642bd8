"""Parse the number in a reference such as `digits@3`."""

MAX_DIGITS = 9
"""Every number of nine digits fits into a 32-bit column."""


def parse_version_number(text: str) -> int:
    """Parse the number of a version or a revision. Return 0, which none has, for all other text."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS else 0
