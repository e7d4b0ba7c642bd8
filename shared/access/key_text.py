"""Make and check the text of API keys: `ty_`, an id of 8 characters, `_`, a secret of 32 and a checksum of 6.

All are base62. The prefix lets scanners for secrets find a key, and the checksum tells a typing error from a wrong key
without a look into the database. The secret has 190 random bits. A plain SHA-256 is therefore enough to store it:
OWASP ASVS 5.0, requirement 6.5.2, asks for a slow hash only below 112 bits.
"""

import hashlib
import re
import secrets
import string
import zlib
from typing import NamedTuple

PREFIX = "ty_"
ID_LENGTH, SECRET_LENGTH, CHECKSUM_LENGTH = 8, 32, 6
ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
KEY = re.compile(f"{PREFIX}([0-9A-Za-z]{{{ID_LENGTH}}})_[0-9A-Za-z]{{{SECRET_LENGTH + CHECKSUM_LENGTH}}}")
TOKEN_BYTES = 32


class NewKey(NamedTuple):
    """A key that was just made. Only `digest` is stored."""

    id: str
    text: str
    digest: str


def make_key(key_id: str | None = None) -> NewKey:
    """Make a key. `key_id` is that of a key which gets a new secret; None for a new key."""
    chosen = key_id or make_id()
    body = f"{PREFIX}{chosen}_{_choose(SECRET_LENGTH)}"
    text = body + _compute_checksum(body)
    return NewKey(chosen, text, compute_digest(text))


def find_key_id(text: str) -> str | None:
    """Return the id in the text of a key. Returns None for a text that is no key: its form or its checksum is wrong."""
    match = KEY.fullmatch(text)
    if match is None or _compute_checksum(text[:-CHECKSUM_LENGTH]) != text[-CHECKSUM_LENGTH:]:
        return None
    return match[1]


def make_id() -> str:
    """Make a random id of a key or an invitation: 8 base62 characters."""
    return _choose(ID_LENGTH)


def make_token() -> str:
    """Make a random text with 256 bits, for invitations and browser sessions."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def compute_digest(text: str) -> str:
    """Compute the SHA-256 of a key or a token, as 64 hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def _choose(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def _compute_checksum(body: str) -> str:
    """Compute the CRC-32 of the characters before it, as six base62 digits."""
    number, digits = zlib.crc32(body.encode()), ""
    for _ in range(CHECKSUM_LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits
