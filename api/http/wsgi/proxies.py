"""Believe what trusted proxies say about the client of a request."""

import ipaddress
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

FROM_PROXY = "trainyard.from_proxy"
"""Key of the environment of a request that a trusted proxy has passed on."""
SCHEMES = ("http", "https")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse_networks(names: Iterable[str]) -> tuple[Network, ...]:
    """Parse addresses and networks such as `127.0.0.1` and `10.0.0.0/8`. Raises ValueError."""
    return tuple(ipaddress.ip_network(name, strict=False) for name in sorted(names))


def trust_proxies(application: "WSGIApplication", networks: tuple[Network, ...]) -> "WSGIApplication":
    """Wrap a WSGI application: take the client's address and scheme from the headers of proxies in these networks.

    `X-Forwarded-For` is read from its end: the first address there that is no trusted proxy is the client. From other
    peers, the headers mean nothing.
    """

    def is_trusted(address: str) -> bool:
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(found in network for network in networks)

    def call_wsgi(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if is_trusted(environ.get("REMOTE_ADDR", "")):
            environ[FROM_PROXY] = True
            for part in reversed(environ.get("HTTP_X_FORWARDED_FOR", "").split(",")):
                if not part.strip():
                    break
                environ["REMOTE_ADDR"] = part.strip()[:45]
                if not is_trusted(part.strip()):
                    break
            scheme = environ.get("HTTP_X_FORWARDED_PROTO", "").rpartition(",")[2].strip().lower()
            if scheme in SCHEMES:
                environ["wsgi.url_scheme"] = scheme
        return application(environ, start_response)

    return call_wsgi
