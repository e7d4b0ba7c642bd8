"""Test the Prometheus metrics of predictions and jobs."""

from collections.abc import Callable

import pytest
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from shared.database.engine import Sessions
from shared.devices import Device
from shared.jobs import lifecycle
from shared.jobs.events import EpochReport
from tests.support.examples import XOR, Json, changed
from tests.support.jobs import submit
from tests.support.versions import PublishedVersion
from tests.support.worker import RETRY_POLICY, InProcessWorker

ADDRESS = "/api/v1/models/xor/predictions"


@pytest.fixture
def xor(
    http: FlaskClient, worker: InProcessWorker, sessions: Sessions, published: Callable[[Json], PublishedVersion]
) -> FlaskClient:
    """Provide the client, with version 1 of the model `xor` published."""
    published(XOR).publish(sessions, worker.context.artifacts)
    return http


def scrape(http: FlaskClient) -> dict[tuple[str, ...], float]:
    """Return (name, *label values) → value of each sample. Label values are in the order of the label names."""
    answer = http.get("/metrics")
    assert answer.content_type == "text/plain; version=0.0.4; charset=utf-8"
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_predictions_are_counted_by_version_and_outcome(xor: FlaskClient) -> None:
    for instances in ([[0, 1]], [[0, 1], [1, 1], ["x", 1]], [["x", 1]]):
        xor.post(ADDRESS, json={"instances": instances})
    xor.post("/api/v1/models/nobody/predictions", json={"instances": [[0, 1]]})

    samples = scrape(xor)

    name = "trainyard_prediction_requests_total"
    assert {key[1:]: value for key, value in samples.items() if key[0] == name} == {
        ("xor", "ok", "predictions", "1"): 2,
        ("xor", "invalid-request", "predictions", "1"): 1,
        ("", "model-not-found", "predictions", ""): 1,
    }
    assert samples["trainyard_prediction_batch_sum",] == 3
    assert [samples["trainyard_prediction_seconds_count", stage] for stage in ("wait", "decode", "infer")] == [3, 3, 2]
    assert samples["trainyard_loaded_versions",] == 1
    assert samples["trainyard_loaded_versions_bytes",] > 0


def test_job_metrics_come_from_the_database(http: FlaskClient, sessions: Sessions) -> None:
    for _ in range(3):
        submit(http, XOR)
    submit(http, changed(XOR, "resources.device", "gpu"))
    with sessions.begin() as session:
        running = lifecycle.claim(session, "worker-1", [Device.AUTO], 60)
        lost = lifecycle.claim(session, "worker-2", [Device.AUTO], 60)
        assert running is not None
        assert lost is not None
        lifecycle.renew(session, running.id, 1, 60, None, [EpochReport(1, 9.0, 1, {}), EpochReport(2, 4.5, 1, {})])
    with sessions.begin() as session:
        lifecycle.rescue_from_worker(session, "worker-2", RETRY_POLICY)

    samples = scrape(http)

    assert [samples["trainyard_jobs", status] for status in ("queued", "running", "failed")] == [3, 1, 0]
    assert [samples["trainyard_queue_depth", device] for device in ("auto", "gpu", "cpu")] == [2, 1, 0]
    assert 0 < samples["trainyard_queue_oldest_seconds", "auto"] < 60
    assert samples["trainyard_epoch_seconds", "xor"] == 4.5
    assert samples["trainyard_lost_attempts",] == 1
