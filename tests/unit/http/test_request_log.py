"""Test the log of requests."""

import logging

import pytest
from werkzeug.test import Client
from werkzeug.wrappers import Request, Response

from api.http.wsgi.request_ids import add_request_ids
from api.http.wsgi.request_log import log_requests
from shared import logs


@Request.application
def answer(request: Request) -> Response:
    return Response(status=404 if request.path.startswith("/nothing") else 200)


def test_each_request_is_logged_without_its_query(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[str | None] = []

    def note_id(_: logging.LogRecord) -> bool:
        seen.append(logs.get_context("request_id"))
        return True

    logger = logging.getLogger("api.http.wsgi.request_log")
    logger.addFilter(note_id)
    client = Client(log_requests(add_request_ids(answer)))

    with caplog.at_level(logging.INFO):
        client.get("/health/live?key=secret", headers={"X-Request-ID": "mine"})
        client.post("/nothing%0aINFO forged")
    logger.removeFilter(note_id)

    first, second = (record.getMessage() for record in caplog.records)
    assert first.startswith("GET /health/live 200 in ")
    assert second.startswith("POST /nothing%0AINFO%20forged 404 in ")
    assert seen[0] == "mine"
