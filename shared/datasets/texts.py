"""Check texts."""

MAX_TEXT_CHARACTERS = 2**21


def find_text_fault(text: str) -> str | None:
    """Return what is wrong with a text, as the end of a sentence; None if nothing is."""
    if len(text) > MAX_TEXT_CHARACTERS:
        return f"has {len(text):,} characters; the limit is {MAX_TEXT_CHARACTERS:,}. Split it into several"
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"has an unpaired surrogate, {text[error.start]!a}, at position {error.start}. Send valid Unicode"
    return None
