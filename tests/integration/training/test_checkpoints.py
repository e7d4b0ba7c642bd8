"""Test checkpoints: an interrupted training ends with the same weights, bit for bit, as an uninterrupted one."""

from pathlib import Path
from uuid import UUID

import pytest
from flask.testing import FlaskClient

from shared.database.engine import Sessions
from shared.devices import Device
from shared.jobs import lifecycle, queries
from shared.settings import Settings
from tests.support.examples import (
    CONVOLUTIONAL_LAYERS,
    DETERMINISTIC_TRAINING,
    DIGITS,
    KEEP_BEST,
    XOR,
    Json,
    changed,
)
from tests.support.jobs import get_curve, get_weights_digest, interrupt_after, show_job, submit, train
from tests.support.storage import FullStore, list_files
from tests.support.worker import EVERY_EPOCH, RETRY_POLICY, InProcessWorker
from worker.training import stepping
from worker.training.checkpoints import manager as checkpoints
from worker.training.checkpoints.store import ArtifactCheckpointStore

pytestmark = [
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
    pytest.mark.usefixtures("one_step_in_a_call"),
]
WITH_EVERYTHING: Json = {
    **DIGITS,
    "model": "everything",
    "augmentation": [{"layer": "RandomTranslation", "height_factor": 0.1, "width_factor": 0.1}],
    "network": {"layers": CONVOLUTIONAL_LAYERS},
    "training": {
        **DETERMINISTIC_TRAINING,
        "learning_rate_schedule": {"name": "CosineDecay"},
        "early_stopping": {"monitor": "val_loss", "patience": 3, "restore_best": True},
        "class_weight": "balanced",
        "tensorboard": {"histograms": 0},
    },
}
MIXED = changed({**KEEP_BEST, "model": "mixed"}, "training.precision", "mixed_float16")
STOPPED_EARLY = changed(
    {**KEEP_BEST, "model": "stopped"},
    "training",
    {**DETERMINISTIC_TRAINING, "early_stopping": {"monitor": "loss", "min_delta": 9.0}},
)
PLATEAU = changed(
    {**KEEP_BEST, "model": "plateau"},
    "training",
    {
        **DETERMINISTIC_TRAINING,
        "epochs": 6,
        "reduce_lr_on_plateau": {"monitor": "loss", "patience": 2, "min_delta": 9.0, "factor": 0.5},
    },
)
"""The learning rate is halved after the epochs 3 and 5."""
AVERAGED: Json = {
    **DIGITS,
    "model": "averaged",
    "training": {
        **DETERMINISTIC_TRAINING,
        "optimizer": {"name": "Adam", "learning_rate": 0.01, "use_ema": True, "ema_momentum": 0.9},
    },
}
LIGHT: Json = {**DIGITS, "model": "light", "training": {**DETERMINISTIC_TRAINING, "epochs": 9}}
"""The only one of these specs that the fused fit trains."""


@pytest.mark.parametrize(
    "spec",
    [WITH_EVERYTHING, KEEP_BEST, MIXED, STOPPED_EARLY, PLATEAU, AVERAGED, LIGHT],
    ids=lambda spec: spec["model"],
)
def test_an_interrupted_training_ends_with_the_same_weights(
    http: FlaskClient, worker: InProcessWorker, spec: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    uninterrupted = train(http, worker, spec)

    job_id = submit(http, spec)
    for steps, checks in ((3, 3), (4, 5), (2, 2), (1, 12), (3, 7)):  # attempts of other releases, or other machines
        monkeypatch.setattr(stepping, "MAX_STEPS", steps)
        interrupt_after(worker, checks).run_next()
    worker.run_all()

    job = show_job(http, job_id)
    assert (job["status"], job["version"]) == ("succeeded", 2), job["error"]
    assert job["attempt"] > 1
    assert get_weights_digest(http, spec["model"], 2) == get_weights_digest(http, spec["model"], 1)
    assert get_curve(http, job_id) == get_curve(http, uninterrupted["id"])
    epochs = [http.get(f"/api/v1/models/{spec['model']}/versions/{version}").json["epochs"] for version in (1, 2)]
    assert epochs[0] == epochs[1]


def test_a_checkpoint_is_stored_until_the_job_succeeds(http: FlaskClient, worker: InProcessWorker) -> None:
    worker = worker.replace(checkpoint_policy=EVERY_EPOCH)
    job_id = submit(http, KEEP_BEST)
    interrupt_after(worker, 12).run_next()

    job = show_job(http, job_id)
    assert (job["status"], job["checkpoint_epoch"]) == ("queued", 1)
    assert len(list_files(worker.context.artifacts)) == 1

    worker.run_all()

    referenced = {file["sha256"] for file in http.get("/api/v1/models/best/versions/1").json["files"]}
    assert {path.name for path in list_files(worker.context.artifacts)} == referenced


def test_the_curves_hold_every_epoch_of_a_checkpoint(
    http: FlaskClient, worker: InProcessWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Check the curves at each save: the process may be killed right afterwards.

    The lease thread, which also writes epochs, has no part in it here: it reports every 15 s.
    """
    at_each_save: list[tuple[int, list[int]]] = []

    def save(store: ArtifactCheckpointStore, path: Path, epoch: int) -> None:
        original(store, path, epoch)
        at_each_save.append((show_job(http, job_id)["checkpoint_epoch"], [row[0] for row in get_curve(http, job_id)]))

    original = ArtifactCheckpointStore.save
    monkeypatch.setattr(ArtifactCheckpointStore, "save", save)
    slow = worker.replace(progress_seconds=15.0, checkpoint_policy=EVERY_EPOCH)
    job_id = submit(http, KEEP_BEST)
    slow.run_all()

    assert at_each_save == [(epoch, list(range(1, epoch + 1))) for epoch in (1, 2, 3, 4)]


def test_a_retry_gets_a_new_time_limit(
    http: FlaskClient, worker: InProcessWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Check also that the next attempt of the same job does not get one."""
    monkeypatch.setattr(checkpoints.CheckpointManager, "trained_seconds", lambda _: 7200.0)
    job_id = submit(http, changed(KEEP_BEST, "resources.max_minutes", 60.0))
    interrupt_after(worker, 12).run_next()
    monkeypatch.undo()

    worker.run_all()
    assert show_job(http, job_id)["error"]["type"] == "/problems/time-limit-reached"

    retry = http.post(f"/api/v1/jobs/{job_id}/retry").json
    worker.run_all()
    assert show_job(http, retry["id"])["status"] == "succeeded"


def test_a_job_with_a_damaged_checkpoint_trains_from_the_start(http: FlaskClient, worker: InProcessWorker) -> None:
    train(http, worker, KEEP_BEST)
    job_id = submit(http, KEEP_BEST)
    before = list_files(worker.context.artifacts)
    interrupt_after(worker, 12).run_next()
    (checkpoint,) = set(list_files(worker.context.artifacts)) - set(before)
    checkpoint.write_bytes(b"no checkpoint")

    worker.run_all()

    assert show_job(http, job_id)["status"] == "succeeded"
    assert get_weights_digest(http, "best", 2) == get_weights_digest(http, "best", 1)
    assert [row[0] for row in get_curve(http, job_id)] == [1, 2, 3, 4]


def test_a_checkpoint_of_another_network_is_ignored(
    http: FlaskClient, worker: InProcessWorker, sessions: Sessions
) -> None:
    job_id = submit(http, KEEP_BEST)
    interrupt_after(worker, 12).run_next()
    with sessions.begin() as session:
        job = queries.get_job(session, UUID(job_id))
        job.spec = changed(job.spec, "network.layers.0.filters", 33)

    worker.run_all()

    assert show_job(http, job_id)["status"] == "succeeded"


def test_progress_resets_the_count_of_lost_attempts(
    http: FlaskClient, worker: InProcessWorker, sessions: Sessions
) -> None:
    job_id = submit(http, KEEP_BEST)
    for _ in range(2 * RETRY_POLICY.attempts):
        interrupt_after(worker, 2).run_next()
        with sessions.begin() as session:
            claimed = lifecycle.claim(session, worker.context.worker, [Device.AUTO], 60)
            assert claimed is not None
            lifecycle.rescue_from_worker(session, worker.context.worker, RETRY_POLICY)

    worker.run_all()

    assert show_job(http, job_id)["status"] == "succeeded"


def test_a_job_is_requeued_while_the_disk_is_full(
    http: FlaskClient, worker: InProcessWorker, settings: Settings
) -> None:
    store = FullStore(settings.artifacts_url)
    worker = worker.replace(artifacts=store, checkpoint_policy=EVERY_EPOCH)
    job_id = submit(http, KEEP_BEST)
    worker.run_next()
    assert show_job(http, job_id)["status"] == "queued"

    store.is_full = False
    worker.run_all()

    assert show_job(http, job_id)["status"] == "succeeded"


def test_a_job_fails_with_the_reason_if_the_disk_stays_full(
    http: FlaskClient, worker: InProcessWorker, settings: Settings
) -> None:
    job = train(http, worker.replace(artifacts=FullStore(settings.artifacts_url)), XOR)

    assert (job["status"], job["attempt"]) == ("failed", RETRY_POLICY.attempts)
    assert job["error"]["type"] == "/problems/storage-unavailable"
    assert "No space left" in job["error"]["detail"]
