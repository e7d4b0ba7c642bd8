"""A training that is interrupted goes on as if it had not been: the weights come out equal, bit for bit."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest
from flask.testing import FlaskClient

from shared.database.engine import Sessions
from shared.devices import Device
from shared.jobs import lifecycle, queries
from shared.storage.artifacts import ArtifactStore
from tests.examples import DENSE_SOFTMAX, DIGITS, XOR, Json, changed
from tests.integration.conftest import PATIENCE, Worker
from tests.integration.test_training import run, submit
from worker.training.checkpoints import manager as checkpoints
from worker.training.checkpoints.store import ArtifactCheckpointStore

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

LAYERS = [
    {"layer": "Conv2D", "filters": 32, "kernel_size": 3},
    {"layer": "BatchNormalization"},
    {"layer": "Flatten"},
    {"layer": "Dropout", "rate": 0.3},
    DENSE_SOFTMAX,
]
TRAINING = {
    "epochs": 4,
    "batch_size": 32,
    "deterministic": True,
    "optimizer": {"name": "Adam", "learning_rate": 0.01},
}
WITH_EVERYTHING: Json = {
    **DIGITS,
    "model": "everything",
    "augmentation": [{"layer": "RandomTranslation", "height_factor": 0.1, "width_factor": 0.1}],
    "network": {"layers": LAYERS},
    "training": {
        **TRAINING,
        "learning_rate_schedule": {"name": "CosineDecay"},
        "early_stopping": {"monitor": "val_loss", "patience": 3, "restore_best": True},
        "class_weight": "balanced",
        "tensorboard": {"histograms": 0},
    },
}
BEST: Json = {
    **DIGITS,
    "model": "best",
    "network": {"layers": LAYERS},
    "training": {**TRAINING, "keep": {"best": "loss"}},
}
MIXED = changed({**BEST, "model": "mixed"}, "training.precision", "mixed_float16")
STOPPED_EARLY = changed(
    {**BEST, "model": "stopped"}, "training", {**TRAINING, "early_stopping": {"monitor": "loss", "min_delta": 9.0}}
)
LIGHT: Json = {**DIGITS, "model": "light", "training": {**TRAINING, "epochs": 9}}


def leaving_after(*batches: int) -> Callable[[], bool]:
    """For each attempt after so many questions whether to leave: there is one after each batch, and each epoch."""
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


def interrupted(worker: Worker, *batches: int) -> Worker:
    return Worker(dataclasses.replace(worker.yard, is_shutting_down=leaving_after(*batches)))


def show(http: FlaskClient, job_id: str) -> Json:
    job: Json = json.loads(http.get(f"/api/v1/jobs/{job_id}").data)
    return job


def digest(http: FlaskClient, model: str, version: int) -> str:
    return str(http.get(f"/api/v1/models/{model}/versions/{version}").json["weights_digest"])


def curve(http: FlaskClient, job_id: str) -> list[tuple[int, float, Json]]:
    epochs = http.get(f"/api/v1/jobs/{job_id}/metrics").json["epochs"]
    return [(epoch["epoch"], epoch["learning_rate"], epoch["metrics"]) for epoch in epochs]


@pytest.mark.parametrize("spec", [WITH_EVERYTHING, BEST, MIXED, STOPPED_EARLY, LIGHT], ids=lambda spec: spec["model"])
def test_an_interrupted_training_comes_to_the_same_weights(http: FlaskClient, worker: Worker, spec: Json) -> None:
    whole = run(http, worker, spec)

    job_id = submit(http, spec)
    interrupted(worker, 3, 5, 1, 12, 7).run_all()
    worker.run_all()

    job = show(http, job_id)
    assert (job["status"], job["version"]) == ("succeeded", 2), job["error"]
    assert job["attempt"] > 1
    assert digest(http, spec["model"], 2) == digest(http, spec["model"], 1)
    assert curve(http, job_id) == curve(http, whole["id"])
    epochs = [http.get(f"/api/v1/models/{spec['model']}/versions/{version}").json["epochs"] for version in (1, 2)]
    assert epochs[0] == epochs[1]


def test_a_checkpoint_is_in_the_store_until_the_job_has_ended_well(
    http: FlaskClient, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "MIN_INTERVAL_SECONDS", 0)
    monkeypatch.setattr(checkpoints, "COST_FACTOR", 0)
    job_id = submit(http, BEST)
    interrupted(worker, 12).run_next()

    job = show(http, job_id)
    assert (job["status"], job["checkpoint_epoch"]) == ("queued", 1)
    assert len(files_of(worker.yard.artifacts)) == 1

    worker.run_all()

    named = {file["sha256"] for file in http.get("/api/v1/models/best/versions/1").json["files"]}
    assert {path.name for path in files_of(worker.yard.artifacts)} == named


def test_the_epochs_in_a_checkpoint_stand_in_the_curves(
    http: FlaskClient, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the process is killed right after it: the lease's thread writes them only now and then."""
    monkeypatch.setattr(checkpoints, "MIN_INTERVAL_SECONDS", 0)
    monkeypatch.setattr(checkpoints, "COST_FACTOR", 0)
    seen: list[tuple[int, list[int]]] = []

    def save(store: ArtifactCheckpointStore, path: Path, epoch: int) -> None:
        original(store, path, epoch)
        seen.append((show(http, job_id)["checkpoint_epoch"], [row[0] for row in curve(http, job_id)]))

    original = ArtifactCheckpointStore.save
    monkeypatch.setattr(ArtifactCheckpointStore, "save", save)
    slow = Worker(dataclasses.replace(worker.yard, progress_seconds=15.0))
    job_id = submit(http, BEST)
    slow.run_all()

    assert seen == [(epoch, list(range(1, epoch + 1))) for epoch in (1, 2, 3, 4)]


def test_a_retry_has_all_of_its_own_time(http: FlaskClient, worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """An attempt that follows in the same job has not."""
    monkeypatch.setattr(checkpoints.CheckpointManager, "trained_seconds", lambda _: 7200.0)
    job_id = submit(http, changed(BEST, "resources.max_minutes", 60.0))
    interrupted(worker, 12).run_next()
    monkeypatch.undo()

    worker.run_all()
    assert show(http, job_id)["error"]["type"] == "/problems/time-limit-reached"

    retry = http.post(f"/api/v1/jobs/{job_id}/retry").json
    worker.run_all()
    assert show(http, retry["id"])["status"] == "succeeded"


def test_a_damaged_checkpoint_costs_the_epochs_and_nothing_else(http: FlaskClient, worker: Worker) -> None:
    run(http, worker, BEST)
    job_id = submit(http, BEST)
    before = files_of(worker.yard.artifacts)
    interrupted(worker, 12).run_next()
    (checkpoint,) = set(files_of(worker.yard.artifacts)) - set(before)
    checkpoint.write_bytes(b"no checkpoint")

    worker.run_all()

    assert show(http, job_id)["status"] == "succeeded"
    assert digest(http, "best", 2) == digest(http, "best", 1)
    assert [row[0] for row in curve(http, job_id)] == [1, 2, 3, 4]


def test_a_checkpoint_of_another_network_is_not_taken(http: FlaskClient, worker: Worker, sessions: Sessions) -> None:
    job_id = submit(http, BEST)
    interrupted(worker, 12).run_next()
    with sessions.begin() as session:
        job = queries.get_job(session, UUID(job_id))
        job.spec = changed(job.spec, "network.layers.0.filters", 33)

    worker.run_all()

    assert show(http, job_id)["status"] == "succeeded"


def test_an_attempt_that_came_further_forgives_the_ones_before(
    http: FlaskClient, worker: Worker, sessions: Sessions
) -> None:
    job_id = submit(http, BEST)
    for _ in range(2 * PATIENCE.attempts):
        interrupted(worker, 2).run_next()
        with sessions.begin() as session:
            claimed = lifecycle.claim(session, worker.yard.worker, [Device.AUTO], 60)
            assert claimed is not None
            lifecycle.rescue_from_worker(session, worker.yard.worker, PATIENCE)

    worker.run_all()

    assert show(http, job_id)["status"] == "succeeded"


def test_a_full_disk_costs_checkpoints_but_no_job(
    http: FlaskClient, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "MIN_INTERVAL_SECONDS", 0)
    refuse = True

    def put(store: ArtifactStore, path: Path) -> object:
        if refuse:
            raise OSError(28, "No space left on device")
        return original(store, path)

    original = ArtifactStore.put
    monkeypatch.setattr(ArtifactStore, "put", put)
    job_id = submit(http, BEST)
    worker.run_next()
    assert show(http, job_id)["status"] == "queued"

    refuse = False
    worker.run_all()

    assert show(http, job_id)["status"] == "succeeded"


def test_a_disk_that_stays_full_ends_the_job_with_the_reason(
    http: FlaskClient, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def put(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ArtifactStore, "put", put)
    job = run(http, worker, XOR)

    assert (job["status"], job["attempt"]) == ("failed", PATIENCE.attempts)
    assert job["error"]["type"] == "/problems/storage-unavailable"
    assert "No space left" in job["error"]["detail"]


def files_of(artifacts: ArtifactStore) -> list[Path]:
    return [path for path in Path(artifacts._root).rglob("*") if path.is_file()]
