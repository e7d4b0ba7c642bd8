"""Test how old audit events move to files, which nothing deletes."""

import json
import threading
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import func, select

from shared.access.rights import Role
from shared.database.engine import Sessions
from shared.database.tables.access import AuditArchive, AuditEvent
from shared.settings import Settings
from shared.storage import tracked_files
from shared.storage.artifacts import ArtifactStore
from tests.integration.access.conftest import Join, Person
from tests.support.problems import assert_problem
from worker.maintenance import audit_archive
from worker.maintenance.audit_archive import archive_events


@pytest.fixture
def artifacts(settings: Settings) -> ArtifactStore:
    return ArtifactStore(settings.artifacts_url)


def add_events(sessions: Sessions, ages: list[float]) -> None:
    """Add an event for each age in days."""
    with sessions.begin() as session:
        for number, age in enumerate(ages):
            at = datetime.now(UTC) - timedelta(days=age)
            event = AuditEvent(actor="김", via="key", action="alias-moved", object_kind="alias", object=f"m@{number}")
            event.at, event.after = at, {"version": number}
            session.add(event)
            session.flush()


def count_events(sessions: Sessions) -> int:
    with sessions() as session:
        return session.scalars(select(func.count()).select_from(AuditEvent)).one()


def test_old_events_move_to_a_file_that_an_admin_downloads(
    http: FlaskClient, sessions: Sessions, artifacts: ArtifactStore, admin: Person, join: Join
) -> None:
    add_events(sessions, [500, 450, 401, 399, 0])
    before, count = http.get("/api/v1/audit.jsonl", headers=admin.headers).text.splitlines(), count_events(sessions)

    moved = archive_events(sessions, artifacts), archive_events(sessions, artifacts)
    tracked_files.collect_garbage(sessions, artifacts, 0)

    (listed,) = http.get("/api/v1/audit/archives", headers=admin.headers).json["archives"]
    found = http.get(f"/api/v1/audit/archives/{listed['first_id']}", headers=admin.headers)
    lines = found.text.splitlines()
    assert moved == (3, 0)
    assert listed["events"] == 3
    assert [json.loads(line)["object"] for line in lines] == ["m@0", "m@1", "m@2"]
    assert json.loads(lines[0])["actor"] == "김"
    assert set(lines) < set(before)
    assert count_events(sessions) == count - 3
    member = join("kim", Role.MAINTAINER)
    for path in ("", f"/{listed['first_id']}"):
        refused = http.get(f"/api/v1/audit/archives{path}", headers=member.headers)
        assert_problem(refused, 403, "not-allowed")
    too_large = http.get(f"/api/v1/audit/archives/{10**22}", headers=admin.headers)
    assert_problem(too_large, 422, "invalid-request")
    missing = http.get("/api/v1/audit/archives/999", headers=admin.headers)
    assert_problem(missing, HTTPStatus.NOT_FOUND, "file-not-found")


def test_nothing_moves_until_there_is_a_month_of_old_events(sessions: Sessions, artifacts: ArtifactStore) -> None:
    add_events(sessions, [429, 401])

    assert archive_events(sessions, artifacts) == 0


def test_many_events_become_several_files(
    sessions: Sessions, artifacts: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_archive, "MAX_EVENTS", 2)
    add_events(sessions, [500, 500, 500, 500, 500])

    assert [archive_events(sessions, artifacts) for _ in range(4)] == [2, 2, 1, 0]


def test_several_processes_at_once_make_one_file(sessions: Sessions, artifacts: ArtifactStore) -> None:
    add_events(sessions, [500] * 50)
    moved: list[int] = []
    threads = [threading.Thread(target=lambda: moved.append(archive_events(sessions, artifacts))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    with sessions() as session:
        assert [archive.events for archive in session.scalars(select(AuditArchive))] == [50]
    assert sorted(moved) == [0] * 5 + [50]


def test_a_run_that_ends_in_the_middle_loses_nothing(
    sessions: Sessions, artifacts: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_events(sessions, [500, 499])

    def fail(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(tracked_files, "reference", fail)  # the file is there, and the transaction is not
        with pytest.raises(KeyboardInterrupt):
            archive_events(sessions, artifacts)

    assert count_events(sessions) == 2
    assert archive_events(sessions, artifacts) == 2
