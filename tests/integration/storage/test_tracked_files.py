"""Test that files that nothing references are deleted, and that referenced files never are."""

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

NO_RETENTION = Retention(checkpoint_days=0, event_days=0, prediction_days=0, sweep_seconds=-1)
"""Everything that may be deleted is old enough at once."""


@pytest.fixture
def artifacts(tmp_path: Path) -> ArtifactStore:
    """Provide an empty artifact store."""
    return ArtifactStore(f"file://{tmp_path}/artifacts")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Provide a small file outside the artifact store."""
    path = tmp_path / "model.onnx"
    path.write_bytes(b"content")
    return path


def start_job(sessions: Sessions) -> Job:
    """Create and claim a job. No worker runs it."""
    with sessions.begin() as session:
        submission.create_job(session, TrainingSpec.model_validate(XOR))
        job = lifecycle.claim(session, "worker-1", [Device.AUTO], 60)
    assert job is not None
    return job


def publish(sessions: Sessions, job: Job, files: list[StoredFile]) -> int:
    with sessions.begin() as session:
        return publishing.publish(session, job.id, job.attempt, "xor", {}, files)


def test_an_old_file_without_a_reference_is_deleted(sessions: Sessions, artifacts: ArtifactStore, file: Path) -> None:
    tracked_files.store(sessions, artifacts, [file])

    assert tracked_files.collect_garbage(sessions, artifacts, 3600) == 0
    assert len(list_files(artifacts)) == 1
    assert tracked_files.collect_garbage(sessions, artifacts, -1) == 1
    assert list_files(artifacts) == []


def test_a_file_of_a_version_is_never_deleted(sessions: Sessions, artifacts: ArtifactStore, file: Path) -> None:
    stored = tracked_files.store(sessions, artifacts, [file])
    publish(sessions, start_job(sessions), stored)

    assert tracked_files.collect_garbage(sessions, artifacts, -1) == 0
    tracked_files.delete_unreferenced(sessions, artifacts, stored[0].sha256)
    assert len(list_files(artifacts)) == 1
    with pytest.raises(IntegrityError), sessions.begin() as session:
        session.delete(session.get_one(TrackedFile, stored[0].sha256))


def test_a_version_with_a_deleted_file_is_not_published(
    sessions: Sessions, artifacts: ArtifactStore, file: Path
) -> None:
    job = start_job(sessions)
    stored = tracked_files.store(sessions, artifacts, [file])
    tracked_files.collect_garbage(sessions, artifacts, -1)

    with pytest.raises(FilesCollected):
        publish(sessions, job, stored)

    assert publish(sessions, job, tracked_files.store(sessions, artifacts, [file])) == 1
    assert len(list_files(artifacts)) == 1


def test_a_training_stores_files_again_that_were_deleted(
    http: FlaskClient, worker: InProcessWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = tracked_files.store
    deleted: list[int] = []

    def store_and_collect(sessions: Sessions, artifacts: ArtifactStore, paths: list[Path]) -> list[StoredFile]:
        stored = original(sessions, artifacts, paths)
        if not deleted:
            deleted.append(tracked_files.collect_garbage(sessions, artifacts, -1))
        return stored

    monkeypatch.setattr(tracked_files, "store", store_and_collect)
    job = train(http, worker, XOR)

    assert job["status"] == "succeeded"
    referenced = {file["sha256"] for file in http.get("/api/v1/models/xor/versions/1").json["files"]}
    assert {path.name for path in list_files(worker.context.artifacts)} == referenced


def test_a_file_can_be_stored_and_deleted_at_the_same_time(
    sessions: Sessions, artifacts: ArtifactStore, file: Path
) -> None:
    """Store and publish a file again and again while a thread deletes it: a published file is in the store."""
    ended = threading.Event()

    def delete_repeatedly() -> None:
        while not ended.is_set():
            tracked_files.delete_unreferenced(sessions, artifacts, compute_digest(file))

    deleter = threading.Thread(target=delete_repeatedly)
    deleter.start()
    try:
        for _ in range(10):
            job = start_job(sessions)
            while True:
                try:
                    publish(sessions, job, tracked_files.store(sessions, artifacts, [file]))
                    break
                except FilesCollected:
                    continue
            assert [path.read_bytes() for path in list_files(artifacts)] == [b"content"]
            with sessions.begin() as session:  # so that the file has no reference again
                session.execute(delete(VersionFile))
                session.execute(delete(Version))
    finally:
        ended.set()
        deleter.join()


def test_old_partial_files_of_killed_processes_are_deleted(
    sessions: Sessions, artifacts: ArtifactStore, file: Path
) -> None:
    tracked_files.store(sessions, artifacts, [file])
    (path,) = list_files(artifacts)
    for name, age in (("old", 7200), ("new", 0)):
        partial = path.with_name(f"{name}.partial")
        partial.write_bytes(b"con")
        os.utime(partial, (partial.stat().st_mtime - age,) * 2)

    tracked_files.collect_garbage(sessions, artifacts, 3600)

    assert sorted(found.name for found in list_files(artifacts)) == sorted([path.name, "new.partial"])


def test_a_failed_write_leaves_no_file(artifacts: ArtifactStore, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shared.storage.artifacts._flush_to_disk", fail)

    with pytest.raises(OSError, match="No space"):
        artifacts.put(file)

    assert list_files(artifacts) == []


@pytest.mark.usefixtures("one_step_in_a_call")
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_checkpoint_is_deleted_after_its_retention(
    http: FlaskClient, worker: InProcessWorker, sessions: Sessions
) -> None:
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


def test_old_events_are_trimmed_to_statuses_and_epochs(
    http: FlaskClient, worker: InProcessWorker, sessions: Sessions
) -> None:
    job = train(http, worker, XOR)
    kinds = list_event_kinds(sessions, UUID(job["id"]))

    clean_up(sessions, worker.context.artifacts, NO_RETENTION)

    assert "progress" in kinds
    assert set(list_event_kinds(sessions, UUID(job["id"]))) == {"status", "epoch"}
    assert http.get(f"/api/v1/jobs/{job['id']}/events").text.rstrip().endswith("}")


@pytest.mark.parametrize("action", [lambda *_: None, clean_up], ids=["no clean-up", "clean-up"])
def test_an_unfinished_job_keeps_its_events(
    sessions: Sessions, artifacts: ArtifactStore, action: Callable[..., None]
) -> None:
    job = start_job(sessions)
    with sessions.begin() as session:
        lifecycle.renew(session, job.id, job.attempt, 60, {"epoch": 1}, [])

    action(sessions, artifacts, NO_RETENTION)

    assert list_event_kinds(sessions, job.id) == ["status", "status", "progress"]


def list_event_kinds(sessions: Sessions, job_id: UUID) -> list[str]:
    with sessions() as session:
        return list(session.scalars(select(JobEvent.kind).where(JobEvent.job_id == job_id).order_by(JobEvent.number)))
