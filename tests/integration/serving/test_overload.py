"""Test that predictions over the queue limit are refused at once, and that the accepted ones are answered."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from flask.testing import FlaskClient
from numpy.typing import NDArray
from werkzeug.test import TestResponse

from shared.database.engine import Sessions
from shared.inference.servable import Servable
from shared.settings import Settings
from tests.support.examples import XOR, Json
from tests.support.problems import assert_problem
from tests.support.versions import PublishedVersion
from tests.support.waiting import wait_for
from tests.support.worker import InProcessWorker

PARALLEL_PREDICTIONS = os.cpu_count() or 1
TWO_ROWS = {"instances": [[0, 1], [1, 1]]}
"""A request with several rows, which is never batched with another request."""


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Provide settings that let one prediction wait."""
    return settings.model_copy(update={"max_waiting_predictions": 1})


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_prediction_over_the_queue_limit_is_refused_at_once(
    http: FlaskClient,
    worker: InProcessWorker,
    sessions: Sessions,
    published: Callable[[Json], PublishedVersion],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    published(XOR).publish(sessions, worker.context.artifacts)

    def predict() -> TestResponse:
        return http.application.test_client().post("/api/v1/models/xor/predictions", json=TWO_ROWS)

    assert predict().status_code == 200
    started, may_finish = threading.Semaphore(0), threading.Event()
    run = Servable.run

    def run_when_allowed(version: Servable, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        started.release()
        assert may_finish.wait(30)
        return run(version, rows)

    monkeypatch.setattr(Servable, "run", run_when_allowed)
    with ThreadPoolExecutor(PARALLEL_PREDICTIONS + 1) as threads:
        accepted = [threads.submit(predict) for _ in range(PARALLEL_PREDICTIONS)]
        for _ in accepted:
            assert started.acquire(timeout=30)
        accepted.append(threads.submit(predict))
        wait_for(lambda: "\ntrainyard_predictions_waiting 1.0\n" in http.get("/metrics").text)

        refused = predict()

        may_finish.set()
    assert_problem(refused, 503, "overloaded")
    assert int(refused.headers["Retry-After"]) >= 1
    assert [answer.result().status_code for answer in accepted] == [200] * (PARALLEL_PREDICTIONS + 1)
    assert "\ntrainyard_predictions_waiting 0.0\n" in http.get("/metrics").text
