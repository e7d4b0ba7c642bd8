"""More predictions than there is room for: refused at once, and nobody else is the worse for it."""

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

AT_ONCE = os.cpu_count() or 1
TWO_ROWS = {"instances": [[0, 1], [1, 1]]}
"""Such requests are not computed together."""


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"max_waiting_predictions": 1})


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_one_more_than_may_wait_is_refused_at_once(
    http: FlaskClient,
    worker: InProcessWorker,
    sessions: Sessions,
    published: Callable[[Json], PublishedVersion],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    published(XOR).publish(sessions, worker.context.artifacts)

    def ask() -> TestResponse:
        return http.application.test_client().post("/api/v1/models/xor/predictions", json=TWO_ROWS)

    assert ask().status_code == 200
    begun, may_end = threading.Semaphore(0), threading.Event()
    run = Servable.run

    def run_when_told(version: Servable, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        begun.release()
        assert may_end.wait(30)
        return run(version, rows)

    monkeypatch.setattr(Servable, "run", run_when_told)
    with ThreadPoolExecutor(AT_ONCE + 1) as threads:
        asked = [threads.submit(ask) for _ in range(AT_ONCE)]
        for _ in asked:
            assert begun.acquire(timeout=30)
        asked.append(threads.submit(ask))
        wait_for(lambda: "\ntrainyard_predictions_waiting 1.0\n" in http.get("/metrics").text)

        refused = ask()

        may_end.set()
    assert_problem(refused, 503, "overloaded")
    assert int(refused.headers["Retry-After"]) >= 1
    assert [answer.result().status_code for answer in asked] == [200] * (AT_ONCE + 1)
    assert "\ntrainyard_predictions_waiting 0.0\n" in http.get("/metrics").text
