"""Refuse requests that a web page of another site makes a browser send.

Without these checks, any page that a user of this machine opens could read, post and delete at 127.0.0.1: by forms, by
`fetch`, or by DNS rebinding, where the name of the page's own site points at 127.0.0.1 later.

Sources: https://www.w3.org/TR/fetch-metadata/ and https://fetch.spec.whatwg.org/#http-cors-protocol
"""

import ipaddress
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from api.http.problems import MEDIA_TYPE, STATUS, to_problem
from api.http.wsgi.request_ids import REQUEST_ID_HEADER, get_request_id
from shared import logs
from shared.errors import HostNotAllowed, OriginNotAllowed, ServiceError

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    Writer = Callable[[bytes], object]

NO_SNIFF = ("X-Content-Type-Options", "nosniff")
"""Header of every answer: a browser guesses no other content type."""
HTTPS_ONLY = ("Strict-Transport-Security", "max-age=31536000")
"""Header of answers under HTTPS: a browser does not use HTTP for a year."""
PAGE_HEADERS = (
    NO_SNIFF,
    ("Referrer-Policy", "no-referrer"),
    ("X-Frame-Options", "DENY"),
    ("Content-Security-Policy", "frame-ancestors 'none'"),
)
"""Headers of what a browser can open, the answers to GET: no other site shows them in a frame."""
EXPOSED_HEADERS = f"{REQUEST_ID_HEADER}, ETag, Location, Retry-After, Trainyard-Input, Trainyard-Version"
"""What pages of other sites may read, besides the headers that they always may."""
PREFLIGHT_SECONDS = 600
MAX_KNOWN_HOSTS = 64
"""The most values of `Host` that are checked only once."""
SAFE_METHODS = ("GET", "HEAD")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?")
"""The header `Host`: a name, an IPv4 address or an IPv6 address in brackets; and a port."""


@dataclass(frozen=True)
class Sites:
    """The names under which the API is reached, and the pages of other sites that may use it.

    Attributes:
        address: the address that the API is bound to.
        hosts: further names. `*` allows every name.
        origins: origins of pages, such as `https://lab.example`. `*` allows every page.
    """

    address: str
    hosts: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()

    def is_host_allowed(self, host: str) -> bool:
        """Return whether a value of the header `Host` names this API.

        DNS rebinding needs a name that a stranger can register, which has a dot. Always allowed are therefore names
        without a dot, such as `localhost` and `gpu-box`, loopback addresses and the address that the API is bound to;
        if it is bound to all addresses, every IP address.
        """
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = match[1].strip("[]").lower().removesuffix(".")
        if name in self.hosts or "*" in self.hosts or name == self.address.lower():
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return "." not in name or name.endswith(".localhost")
        return address.is_loopback or self.address in ("0.0.0.0", "::")  # noqa: S104 - compared, not bound

    def is_origin_allowed(self, origin: str) -> bool:
        return origin in self.origins or "*" in self.origins


def check_sites(application: "WSGIApplication", sites: Sites) -> "WSGIApplication":
    """Wrap a WSGI application: answer 421 for a foreign `Host`, and 403 for a request that another site's page sends.

    Programs send neither `Origin` nor `Sec-Fetch-Site`: only their `Host` is checked. Pages of allowed origins get the
    headers of CORS, and their preflight requests are answered here.
    """
    known_hosts: set[str] = set()

    def call_wsgi(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        host = environ.get("HTTP_HOST", "")
        if host not in known_hosts and host:
            if not sites.is_host_allowed(host):
                return _refuse(environ, start_response, _make_host_error(host))
            if len(known_hosts) < MAX_KNOWN_HOSTS:
                known_hosts.add(host)
        if "HTTP_ORIGIN" not in environ and "HTTP_SEC_FETCH_SITE" not in environ:
            return application(environ, start_response)
        origin = environ.get("HTTP_ORIGIN", "")
        if origin and sites.is_origin_allowed(origin):
            if environ["REQUEST_METHOD"] == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ:
                return _answer_preflight(environ, start_response, origin)
            return application(environ, _add_headers(start_response, _make_cors_headers(origin)))
        if _is_own_page(environ, host, origin) or _is_navigation(environ):
            return application(environ, start_response)
        return _refuse(environ, start_response, _make_origin_error(origin))

    return call_wsgi


def _is_own_page(environ: "WSGIEnvironment", host: str, origin: str) -> bool:
    """Return whether the browser says that the API's own page, or the user, makes the request.

    `Sec-Fetch-Site` cannot be set by a page. Browsers without it send `Origin` with every request that can do harm.
    """
    site = environ.get("HTTP_SEC_FETCH_SITE")
    if site is not None:
        return site in ("same-origin", "none")
    return host != "" and origin.partition("://")[2] == host


def _is_navigation(environ: "WSGIEnvironment") -> bool:
    """Return whether the user follows a link of another site to the API. That site cannot read the answer."""
    return (
        environ["REQUEST_METHOD"] in SAFE_METHODS
        and environ.get("HTTP_SEC_FETCH_MODE") == "navigate"
        and environ.get("HTTP_SEC_FETCH_DEST") == "document"
    )


def _make_cors_headers(origin: str) -> list[tuple[str, str]]:
    return [
        ("Access-Control-Allow-Origin", origin),
        ("Access-Control-Expose-Headers", EXPOSED_HEADERS),
        ("Vary", "Origin"),
    ]


def _add_headers(start_response: "StartResponse", added: list[tuple[str, str]]) -> "StartResponse":
    def start(status: str, headers: list[tuple[str, str]], *rest: object) -> "Writer":
        return start_response(status, [*headers, *added], *rest)  # type: ignore[arg-type]

    return start


def _answer_preflight(environ: "WSGIEnvironment", start_response: "StartResponse", origin: str) -> list[bytes]:
    allowed = [
        *_make_cors_headers(origin),
        ("Access-Control-Allow-Methods", "GET, HEAD, POST, PUT, PATCH, DELETE"),
        ("Access-Control-Max-Age", str(PREFLIGHT_SECONDS)),
    ]
    names = environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", "")
    if re.fullmatch(r"[\w, -]{1,1000}", names):
        allowed.append(("Access-Control-Allow-Headers", names))
    start_response(f"{HTTPStatus.NO_CONTENT.value} {HTTPStatus.NO_CONTENT.phrase}", allowed)
    return []


def _make_host_error(host: str) -> HostNotAllowed:
    return HostNotAllowed(
        f"The request is for the host {host[:100]!r}, which is not a name of this API. Add the name to TRAINYARD_HOSTS."
    )


def _make_origin_error(origin: str) -> OriginNotAllowed:
    page = f"the origin {origin[:100]!r}" if origin else "another site"
    return OriginNotAllowed(
        f"A web page of {page} sent the request. If the page may use this API, add its origin to "
        "TRAINYARD_ALLOWED_ORIGINS."
    )


def _refuse(environ: "WSGIEnvironment", start_response: "StartResponse", error: ServiceError) -> list[bytes]:
    """Answer with the problem of the error, and close the connection: the body of the request is not read."""
    request_id, status = get_request_id(environ), STATUS[type(error)]
    with logs.add_context(request_id=request_id):
        body = to_problem(error).model_dump_json().encode()
    headers = [
        ("Content-Type", MEDIA_TYPE),
        ("Content-Length", str(len(body))),
        (REQUEST_ID_HEADER, request_id),
        ("Connection", "close"),
        *PAGE_HEADERS,
    ]
    start_response(f"{status.value} {status.phrase}", headers)
    return [body]
