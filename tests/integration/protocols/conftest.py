"""Provide models for the protocols of other systems, and a server for the clients of these systems."""

from collections.abc import Callable

import numpy as np
import pytest
from flask.testing import FlaskClient

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
    """Provide the image of a digit, (8, 8, 1) uint8, that the network was not trained on."""
    first: np.ndarray = splits.load_dataset(DatasetSpec(name="digits"), 0, None).test.array[0]  # type: ignore[arg-type]
    return first


@pytest.fixture
def rows(digit: np.ndarray) -> np.ndarray:
    """Provide the digit twice, as the network takes it: (2, 8, 8, 1) float32, 0 to 1."""
    return np.stack([digit, digit]).astype(np.float32) / 255


@pytest.fixture
def http(
    http: FlaskClient, worker: InProcessWorker, sessions: Sessions, published: Callable[[Json], PublishedVersion]
) -> FlaskClient:
    """Provide the client, with digits/1, digits/2, xor/1 and line/1 published. The alias `best` points at digits/1."""
    for spec in (DIGITS, DIGITS, XOR, LINE):
        published(spec).publish(sessions, worker.context.artifacts)
    with sessions.begin() as session:
        aliases.set_alias(session, "digits", "best", 1)
    return http


@pytest.fixture
def expected(http: FlaskClient, digit: np.ndarray) -> np.ndarray:
    """Provide the probabilities (10,) of the digit, as the native protocol answers them."""
    answer = http.post("/api/v1/models/digits/predictions?top=10", data=encoded(digit)).json
    return np.array(
        [found["probability"] for found in sorted(answer["predictions"][0]["top"], key=lambda p: p["class"])]
    )
