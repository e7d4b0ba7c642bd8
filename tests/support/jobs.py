"""Submit, train, interrupt and show jobs."""

import json
from collections.abc import Callable

from flask.testing import FlaskClient

from tests.support.examples import Json
from tests.support.worker import InProcessWorker


def shut_down_after(*batches: int) -> Callable[[], bool]:
    """Return an `is_shutting_down` that is True once for each number, after so many calls that return False.

    A training calls it after each batch and after each epoch.
    """
    left = list(batches)

    def is_shutting_down() -> bool:
        if not left:
            return False
        left[0] -= 1
        if left[0] >= 0:
            return False
        left.pop(0)
        return True

    return is_shutting_down


def interrupt_after(worker: InProcessWorker, *batches: int) -> InProcessWorker:
    """Return a worker that shuts down after so many checks, once for each number (see `shut_down_after`)."""
    return worker.replace(is_shutting_down=shut_down_after(*batches))


def show_job(http: FlaskClient, job_id: str) -> Json:
    job: Json = json.loads(http.get(f"/api/v1/jobs/{job_id}").data)
    return job


def get_weights_digest(http: FlaskClient, model: str, version: int) -> str:
    return str(http.get(f"/api/v1/models/{model}/versions/{version}").json["weights_digest"])


def get_curve(http: FlaskClient, job_id: str) -> list[tuple[int, float, Json]]:
    """Return epoch, learning rate and metrics of each epoch."""
    epochs = http.get(f"/api/v1/jobs/{job_id}/metrics").json["epochs"]
    return [(epoch["epoch"], epoch["learning_rate"], epoch["metrics"]) for epoch in epochs]


def submit(http: FlaskClient, spec: Json) -> str:
    answer = http.post("/api/v1/jobs", json=spec)
    assert answer.status_code == 202, answer.text
    return str(answer.json["id"])


def train(http: FlaskClient, worker: InProcessWorker, spec: Json) -> Json:
    """Submit a job, run all queued jobs and return the job."""
    job_id = submit(http, spec)
    worker.run_all()
    job: Json = json.loads(http.get(f"/api/v1/jobs/{job_id}").data)
    return job
