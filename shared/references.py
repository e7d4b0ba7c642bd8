"""Numbers that users write behind a name."""

MAX_DIGITS = 9


def parse_version_number(text: str) -> int:
    """0, which no version or revision has, for anything else, or more digits than a column can hold."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS else 0
