"""Models to ask for in the words of other systems, and a server for their own clients."""

import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.serving import make_server

from shared.database.engine import Sessions
from shared.datasets import splits
from shared.registry import aliases
from shared.spec.dataset import DatasetSpec
from tests.support.examples import DIGITS, LINE, XOR, Json
from tests.support.images import encoded
from tests.support.versions import PublishedVersion
from tests.support.worker import InProcessWorker


@pytest.fixture
def digit() -> np.ndarray:
    """(8, 8, 1) uint8, a digit the network was not trained on."""
    first: np.ndarray = splits.load_dataset(DatasetSpec(name="digits"), 0, None).test.array[0]  # type: ignore[arg-type]
    return first


@pytest.fixture
def rows(digit: np.ndarray) -> np.ndarray:
    """Two of it, as the network takes them."""
    return np.stack([digit, digit]).astype(np.float32) / 255


@pytest.fixture
def http(
    http: FlaskClient, worker: InProcessWorker, sessions: Sessions, published: Callable[[Json], PublishedVersion]
) -> FlaskClient:
    """digits/1, digits/2 with the alias `best` at 1, xor/1 and line/1."""
    for spec in (DIGITS, DIGITS, XOR, LINE):
        published(spec).publish(sessions, worker.context.artifacts)
    with sessions.begin() as session:
        aliases.set_alias(session, "digits", "best", 1)
    return http


@pytest.fixture
def expected(http: FlaskClient, digit: np.ndarray) -> np.ndarray:
    """(10,), by our own protocol."""
    answer = http.post("/api/v1/models/digits/predictions?top=10", data=encoded(digit)).json
    return np.array(
        [found["probability"] for found in sorted(answer["predictions"][0]["top"], key=lambda p: p["class"])]
    )


@pytest.fixture
def server(app: Flask, http: FlaskClient) -> Iterator[str]:  # noqa: ARG001 - the models must be there
    """host:port, for clients that want a socket."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.port}"
    server.shutdown()
    thread.join()
    server.server_close()
