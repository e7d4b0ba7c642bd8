"""What nothing names is removed, and what something names never is."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest
from flask.testing import FlaskClient
from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError

from shared.database.engine import Sessions
from shared.database.tables.base import now
from shared.database.tables.files import TrackedFile
from shared.database.tables.jobs import Job, JobEvent
from shared.database.tables.registry import Version, VersionFile
from shared.devices import Device
from shared.jobs import lifecycle, publishing, submission
from shared.spec.training import TrainingSpec
from shared.storage import tracked_files
from shared.storage.artifacts import ArtifactStore, StoredFile, compute_digest
from shared.storage.tracked_files import FilesCollected
from tests.support.examples import KEEP_BEST, XOR
from tests.support.jobs import interrupt_after, show_job, submit, train
from tests.support.storage import list_files
from tests.support.worker import InProcessWorker
from worker.maintenance.retention import DAY_SECONDS, Retention, clean_up

AT_ONCE = Retention(checkpoint_days=0, event_days=0, prediction_days=0, sweep_seconds=-1)


@pytest.fixture
def artifacts(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(f"file://{tmp_path}/artifacts")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"content")
    return path


def running_job(sessions: Sessions) -> Job:
    with sessions.begin() as session:
        submission.create_job(session, TrainingSpec.model_validate(XOR))
        job = lifecycle.claim(session, "worker-1", [Device.AUTO], 60)
    assert job is not None
    return job


def publish(sessions: Sessions, job: Job, files: list[StoredFile]) -> int:
    with sessions.begin() as session:
        return publishing.publish(session, job.id, job.attempt, "xor", {}, files)


def test_what_was_written_and_never_named_is_swept(sessions: Sessions, artifacts: ArtifactStore, file: Path) -> None:
    tracked_files.store(sessions, artifacts, [file])

    assert tracked_files.collect_garbage(sessions, artifacts, 3600) == 0
    assert len(list_files(artifacts)) == 1
    assert tracked_files.collect_garbage(sessions, artifacts, -1) == 1
    assert list_files(artifacts) == []


def test_what_a_version_names_is_never_swept(sessions: Sessions, artifacts: ArtifactStore, file: Path) -> None:
    stored = tracked_files.store(sessions, artifacts, [file])
    publish(sessions, running_job(sessions), stored)

    assert tracked_files.collect_garbage(sessions, artifacts, -1) == 0
    tracked_files.delete_unreferenced(sessions, artifacts, stored[0].sha256)
    assert len(list_files(artifacts)) == 1
    with pytest.raises(IntegrityError), sessions.begin() as session:
        session.delete(session.get_one(TrackedFile, stored[0].sha256))


def test_what_was_swept_is_not_published(sessions: Sessions, artifacts: ArtifactStore, file: Path) -> None:
    job = running_job(sessions)
    stored = tracked_files.store(sessions, artifacts, [file])
    tracked_files.collect_garbage(sessions, artifacts, -1)

    with pytest.raises(FilesCollected):
        publish(sessions, job, stored)

    assert publish(sessions, job, tracked_files.store(sessions, artifacts, [file])) == 1
    assert len(list_files(artifacts)) == 1


def test_a_training_publishes_what_was_swept_in_between(
    http: FlaskClient, worker: InProcessWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = tracked_files.store
    swept: list[int] = []

    def keep(sessions: Sessions, artifacts: ArtifactStore, paths: list[Path]) -> list[StoredFile]:
        stored = original(sessions, artifacts, paths)
        if not swept:
            swept.append(tracked_files.collect_garbage(sessions, artifacts, -1))
        return stored

    monkeypatch.setattr(tracked_files, "store", keep)
    job = train(http, worker, XOR)

    assert job["status"] == "succeeded"
    named = {file["sha256"] for file in http.get("/api/v1/models/xor/versions/1").json["files"]}
    assert {path.name for path in list_files(worker.context.artifacts)} == named


def test_files_are_kept_and_swept_at_the_same_time(sessions: Sessions, artifacts: ArtifactStore, file: Path) -> None:
    """The same content, written again and again while somebody drops it: what is named in the end is there."""
    ended = threading.Event()

    def sweep() -> None:
        while not ended.is_set():
            tracked_files.delete_unreferenced(sessions, artifacts, compute_digest(file))

    sweeper = threading.Thread(target=sweep)
    sweeper.start()
    try:
        for _ in range(10):
            job = running_job(sessions)
            while True:
                try:
                    publish(sessions, job, tracked_files.store(sessions, artifacts, [file]))
                    break
                except FilesCollected:
                    continue
            assert [path.read_bytes() for path in list_files(artifacts)] == [b"content"]
            with sessions.begin() as session:  # as if the version had never been
                session.execute(delete(VersionFile))
                session.execute(delete(Version))
    finally:
        ended.set()
        sweeper.join()


def test_what_a_killed_process_had_half_written_is_removed(
    sessions: Sessions, artifacts: ArtifactStore, file: Path
) -> None:
    tracked_files.store(sessions, artifacts, [file])
    (path,) = list_files(artifacts)
    for name, age in (("old", 7200), ("new", 0)):
        half = path.with_name(f"{name}.partial")
        half.write_bytes(b"con")
        os.utime(half, (half.stat().st_mtime - age,) * 2)

    tracked_files.collect_garbage(sessions, artifacts, 3600)

    assert sorted(found.name for found in list_files(artifacts)) == sorted([path.name, "new.partial"])


def test_a_file_that_cannot_be_written_leaves_nothing_behind(
    artifacts: ArtifactStore, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shared.storage.artifacts._flush_to_disk", fail)

    with pytest.raises(OSError, match="No space"):
        artifacts.put(file)

    assert list_files(artifacts) == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_checkpoint_has_its_time(http: FlaskClient, worker: InProcessWorker, sessions: Sessions) -> None:
    job_id = submit(http, KEEP_BEST)
    interrupt_after(worker, 10).run_next()
    http.post(f"/api/v1/jobs/{job_id}/cancellation")

    clean_up(
        sessions,
        worker.context.artifacts,
        Retention(checkpoint_days=7, event_days=7, prediction_days=7, sweep_seconds=-1),
    )
    assert len(list_files(worker.context.artifacts)) == 1
    with sessions.begin() as session:
        session.execute(update(Job).values(ended_at=now(-8 * DAY_SECONDS)))
    clean_up(
        sessions,
        worker.context.artifacts,
        Retention(checkpoint_days=7, event_days=7, prediction_days=7, sweep_seconds=-1),
    )

    assert list_files(worker.context.artifacts) == []
    assert show_job(http, job_id)["checkpoint_epoch"] == 0
    assert http.post(f"/api/v1/jobs/{job_id}/retry").status_code == 201


def test_events_are_trimmed_to_epochs_and_ends(http: FlaskClient, worker: InProcessWorker, sessions: Sessions) -> None:
    job = train(http, worker, XOR)
    kinds = kinds_of(sessions, UUID(job["id"]))

    clean_up(sessions, worker.context.artifacts, AT_ONCE)

    assert "progress" in kinds
    assert set(kinds_of(sessions, UUID(job["id"]))) == {"status", "epoch"}
    assert http.get(f"/api/v1/jobs/{job['id']}/events").text.rstrip().endswith("}")


@pytest.mark.parametrize("do", [lambda *_: None, clean_up])
def test_a_job_that_goes_on_keeps_everything(
    sessions: Sessions, artifacts: ArtifactStore, do: Callable[..., None]
) -> None:
    job = running_job(sessions)
    with sessions.begin() as session:
        lifecycle.renew(session, job.id, job.attempt, 60, {"epoch": 1}, [])

    do(sessions, artifacts, AT_ONCE)

    assert kinds_of(sessions, job.id) == ["status", "status", "progress"]


def kinds_of(sessions: Sessions, job_id: UUID) -> list[str]:
    with sessions() as session:
        return list(session.scalars(select(JobEvent.kind).where(JobEvent.job_id == job_id).order_by(JobEvent.number)))
