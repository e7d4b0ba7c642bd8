"""Test whose word about a client counts."""

from typing import Any

import pytest

from api.http.wsgi.proxies import FROM_PROXY, parse_networks, trust_proxies

NETWORKS = parse_networks({"127.0.0.1", "10.0.0.0/8", "::1"})


def pass_through(**environ: str) -> dict[str, Any]:
    seen: dict[str, Any] = {}

    def application(given: dict[str, Any], _: object) -> list[bytes]:
        seen.update(given)
        return []

    trust_proxies(application, NETWORKS)({"wsgi.url_scheme": "http", **environ}, None)  # type: ignore[arg-type]
    return seen


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("127.0.0.1", "192.0.2.7", "192.0.2.7"),
        ("127.0.0.1", "192.0.2.99, 192.0.2.7", "192.0.2.7"),
        ("::1", "192.0.2.7, 10.1.2.3", "192.0.2.7"),
        ("10.0.0.5", "", "10.0.0.5"),
        ("10.0.0.5", "10.0.0.6", "10.0.0.6"),
        ("127.0.0.1", "nonsense", "nonsense"),
        ("192.0.2.1", "192.0.2.7", "192.0.2.1"),
        ("", "192.0.2.7", ""),
    ],
)
def test_the_client_is_the_last_address_that_is_no_proxy(peer: str, forwarded: str, client: str) -> None:
    seen = pass_through(REMOTE_ADDR=peer, HTTP_X_FORWARDED_FOR=forwarded)

    assert seen["REMOTE_ADDR"] == client


@pytest.mark.parametrize(
    ("peer", "proto", "scheme"),
    [
        ("127.0.0.1", "https", "https"),
        ("127.0.0.1", "http, https", "https"),
        ("127.0.0.1", "javascript", "http"),
        ("192.0.2.1", "https", "http"),
    ],
)
def test_the_scheme_is_that_of_a_trusted_proxy(peer: str, proto: str, scheme: str) -> None:
    seen = pass_through(REMOTE_ADDR=peer, HTTP_X_FORWARDED_PROTO=proto)

    assert seen["wsgi.url_scheme"] == scheme
    assert (FROM_PROXY in seen) == (peer == "127.0.0.1")
