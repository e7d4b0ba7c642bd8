"""Test how keys and sessions are read from headers."""

from base64 import b64encode

import pytest

from api.access.credentials import Credential, read_credential
from shared.access.key_text import make_key
from shared.errors import InvalidRequest, NotAuthenticated

KEY = make_key().text


def encode(text: str) -> str:
    return b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"HTTP_AUTHORIZATION": f"Bearer {KEY}"}, Credential("key", KEY)),
        ({"HTTP_AUTHORIZATION": f"bearer  {KEY} "}, Credential("key", KEY)),
        ({"HTTP_AUTHORIZATION": f"Basic {encode(f'user:{KEY}')}"}, Credential("key", KEY)),
        ({"HTTP_AUTHORIZATION": f"Basic {encode(f':{KEY}')}"}, Credential("key", KEY)),
        ({"HTTP_X_API_KEY": KEY, "HTTP_AUTHORIZATION": f"Bearer {KEY}"}, Credential("key", KEY)),
        ({"HTTP_X_API_KEY": KEY, "HTTP_COOKIE": "trainyard-session=a"}, Credential("key", KEY)),
        ({"HTTP_COOKIE": "trainyard-theme=dark; trainyard-session=a"}, Credential("session", "a")),
        ({"HTTP_COOKIE": "trainyard-session=a; __Host-trainyard-session=b"}, Credential("session", "b")),
        ({"HTTP_COOKIE": "trainyard-theme=dark"}, None),
        ({}, None),
    ],
)
def test_a_credential_is_read(environ: dict[str, str], expected: Credential | None) -> None:
    assert read_credential(environ, with_cookie=True) == expected


def test_a_cookie_counts_only_where_it_may() -> None:
    assert read_credential({"HTTP_COOKIE": "trainyard-session=a"}, with_cookie=False) is None


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic", "Basic !", f"Basic {encode('no colon')}", "Negotiate x"]
)
def test_a_header_without_a_key_is_refused(header: str) -> None:
    with pytest.raises(NotAuthenticated, match="contains no key"):
        read_credential({"HTTP_AUTHORIZATION": header}, with_cookie=True)


@pytest.mark.parametrize(
    "environ", [{"HTTP_AUTHORIZATION": f"Bearer {KEY}", "HTTP_X_API_KEY": "x"}, {"QUERY_STRING": f"top=1&key={KEY}"}]
)
def test_two_keys_and_a_key_in_the_address_are_refused(environ: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest):
        read_credential(environ, with_cookie=True)
