"""Test quotas of users and projects, and the count of what attempts use."""

import threading
from http import HTTPStatus
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select, update

from shared.access.rights import Role
from shared.database.engine import Sessions
from shared.database.tables.base import now
from shared.database.tables.jobs import Job, JobStatus
from shared.database.tables.usage import UsageRecord
from shared.devices import Device
from shared.jobs import lifecycle, usage
from shared.jobs.lifecycle import RetryPolicy
from tests.integration.access.conftest import Join, Person, upload
from tests.support.examples import XOR, changed
from tests.support.problems import assert_problem

POLICY = RetryPolicy(attempts=3, seconds=0.0)


def submit(http: FlaskClient, person: Person, model: str = "xor") -> Any:
    return http.post("/api/v1/jobs", json=changed(XOR, "model", model), headers=person.headers)


def set_quotas(http: FlaskClient, admin: Person, subject: str, **quotas: int) -> Any:
    return http.put(f"/api/v1/{subject}/quotas", json=quotas, headers=admin.headers)


def claim(sessions: Sessions, max_running: int | None = None) -> Job | None:
    with sessions.begin() as session:
        return lifecycle.claim(session, "w", list(Device), 60.0, max_running)


def let_pass(sessions: Sessions, seconds: float) -> None:
    """Let the attempts that run have begun so many seconds earlier."""
    with sessions.begin() as session:
        session.execute(update(Job).where(Job.held_at.is_not(None)).values(held_at=now(-seconds)))


def test_a_user_has_a_quota_of_queued_jobs(http: FlaskClient, admin: Person, join: Join) -> None:
    kim = join("kim", Role.MEMBER)
    set_quotas(http, admin, "users/kim", queued_jobs=2)

    answers = [submit(http, kim).status_code for _ in range(2)]
    refused = submit(http, kim)
    shown = http.get("/api/v1/users/kim/quotas", headers=kim.headers).json

    assert answers == [HTTPStatus.ACCEPTED] * 2
    assert "the quota is 2" in assert_problem(refused, 429, "quota-exceeded")["detail"]
    assert shown["quotas"]["queued_jobs"] == shown["use"]["queued_jobs"] == 2
    assert len(http.get("/api/v1/jobs", headers=kim.headers).json["jobs"]) == 2
    assert submit(http, admin, "other").status_code == HTTPStatus.ACCEPTED


@pytest.mark.parametrize("subject", ["users/kim", "projects/default"])
def test_a_quota_holds_when_all_come_at_once(http: FlaskClient, admin: Person, join: Join, subject: str) -> None:
    kim, lee = join("kim", Role.MEMBER), join("lee", Role.MEMBER)
    assert set_quotas(http, admin, subject, queued_jobs=3).status_code == HTTPStatus.OK
    statuses: list[int] = []

    def send(person: Person, model: str) -> None:
        client = http.application.test_client()
        statuses.append(submit(client, person, model).status_code)

    people = [(kim, "a"), (kim, "b")] if subject == "users/kim" else [(kim, "a"), (lee, "b")]
    threads = [threading.Thread(target=send, args=one) for one in people * 6]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(statuses) == [HTTPStatus.ACCEPTED] * 3 + [HTTPStatus.TOO_MANY_REQUESTS] * 9


def test_a_quota_of_running_jobs_is_in_place_of_the_setting(
    http: FlaskClient, sessions: Sessions, admin: Person, join: Join
) -> None:
    kim, lee = join("kim", Role.MEMBER), join("lee", Role.MEMBER)
    set_quotas(http, admin, "users/kim", running_jobs=1)
    for person, model in ((kim, "k"), (lee, "l")):
        for _ in range(3):
            submit(http, person, model)

    claimed = [job.owner if (job := claim(sessions, 2)) is not None else None for _ in range(4)]

    assert claimed[:3].count("kim") == 1
    assert claimed[:3].count("lee") == 2
    assert claimed[3] is None
    assert_problem(set_quotas(http, admin, "projects/default", running_jobs=1), 422, "invalid-request")


def test_device_minutes_count_what_attempts_hold(
    http: FlaskClient, sessions: Sessions, admin: Person, join: Join
) -> None:
    kim = join("kim", Role.MEMBER)
    set_quotas(http, admin, "users/kim", device_minutes=10)
    submit(http, kim)
    job = claim(sessions)
    assert job is not None
    let_pass(sessions, 300)
    half = http.get("/api/v1/users/kim/quotas", headers=kim.headers).json["use"]["device_minutes"]
    assert submit(http, kim).status_code == HTTPStatus.ACCEPTED
    let_pass(sessions, 601)
    refused = submit(http, kim)
    with sessions.begin() as session:
        lifecycle.finish_fold(session, job.id, job.attempt, {})
    http.delete(f"/api/v1/jobs/{job.id}", headers=kim.headers)

    rows = http.get("/api/v1/usage", headers=kim.headers).json["usage"]

    assert 5 <= half < 5.1
    assert "10 device-minutes" in assert_problem(refused, 429, "quota-exceeded")["detail"]
    assert_problem(submit(http, kim), 429, "quota-exceeded")  # also without the job
    assert [(row["owner"], row["project"], row["attempts"]) for row in rows] == [("kim", "default", 1)]
    assert 10 <= rows[0]["device_minutes"] < 10.1
    with sessions.begin() as session:
        session.execute(update(UsageRecord).values(ended_at=now(-8 * 24 * 3600)))
    assert submit(http, kim).status_code == HTTPStatus.ACCEPTED


def test_a_lost_attempt_counts_to_the_last_sign_of_its_life(
    http: FlaskClient, sessions: Sessions, admin: Person
) -> None:
    submit(http, admin)
    job = claim(sessions)
    assert job is not None
    with sessions.begin() as session:
        values = {"held_at": now(-500), "renewed_at": now(-400), "lease_until": now(-300)}
        session.execute(update(Job).values(**values))
    with sessions.begin() as session:
        lifecycle.rescue_expired(session, POLICY)
    again = claim(sessions)
    assert again is not None
    with sessions.begin() as session:
        lifecycle.cancel(session, job.id)
        lifecycle.finish_cancelling(session, job.id, again.attempt)

    with sessions() as session:
        records = session.scalars(select(UsageRecord).order_by(UsageRecord.attempt)).all()
        ended = session.get_one(Job, job.id)
    assert [(record.attempt, round(record.seconds)) for record in records] == [(1, 100), (2, 0)]
    assert ended.status == JobStatus.CANCELLED


def test_a_queued_job_uses_nothing(http: FlaskClient, sessions: Sessions, admin: Person) -> None:
    first, second = (submit(http, admin).json["id"] for _ in range(2))
    assert claim(sessions) is not None
    with sessions.begin() as session:
        lifecycle.hand_back_all(session, "w")
    for job_id in (first, second):
        http.post(f"/api/v1/jobs/{job_id}/cancellation", headers=admin.headers)

    with sessions() as session:
        records = session.scalars(select(UsageRecord)).all()
    assert [(str(record.job_id), record.attempt) for record in records] == [(first, 1)]


def test_stored_bytes_limit_uploads_and_trainings(http: FlaskClient, admin: Person, join: Join) -> None:
    kim = join("kim", Role.MEMBER)
    assert upload(http, kim, "first").status_code == HTTPStatus.CREATED
    stored = http.get("/api/v1/users/kim/quotas", headers=kim.headers).json["use"]["stored_bytes"]
    set_quotas(http, admin, "projects/default", stored_bytes=stored + 10)

    refused = upload(http, kim, "second")
    allowed = submit(http, kim)
    set_quotas(http, admin, "projects/default", stored_bytes=stored)

    assert stored > 0
    assert f"{stored:,} of {stored + 10:,} bytes" in assert_problem(refused, 429, "quota-exceeded")["detail"]
    assert http.get("/api/v1/datasets/second", headers=kim.headers).status_code == HTTPStatus.NOT_FOUND
    assert allowed.status_code == HTTPStatus.ACCEPTED
    assert_problem(submit(http, kim), 429, "quota-exceeded")


def test_bytes_are_those_of_who_used_the_name_first(http: FlaskClient, admin: Person, join: Join) -> None:
    kim, tea = join("kim", Role.MEMBER), join("tea", Role.MAINTAINER)
    upload(http, kim, "first")
    set_quotas(http, admin, "users/kim", stored_bytes=1)

    refused = upload(http, tea, "first", leave_out="a")

    assert "'kim' has stored" in assert_problem(refused, 429, "quota-exceeded")["detail"]


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00%2B23:59", "9999-12-31T23:59:59-23:59", "2026-11-30"])
def test_any_time_can_be_asked_for(http: FlaskClient, admin: Person, time: str) -> None:
    assert http.get(f"/api/v1/usage?since={time}", headers=admin.headers).status_code == HTTPStatus.OK


def test_who_sees_quotas_and_use(http: FlaskClient, sessions: Sessions, admin: Person, join: Join) -> None:
    kim, lee, tea = join("kim", Role.MEMBER), join("lee", Role.MEMBER), join("tea", Role.MAINTAINER)
    for person, model in ((kim, "k"), (lee, "l")):
        submit(http, person, model)
        claim(sessions)

    def list_owners(person: Person) -> list[str]:
        return sorted(row["owner"] for row in http.get("/api/v1/usage", headers=person.headers).json["usage"])

    assert list_owners(kim) == ["kim"]
    assert list_owners(tea) == list_owners(admin) == ["kim", "lee"]
    table = http.get("/api/v1/usage", headers={**tea.headers, "Accept": "text/csv"})
    assert table.text.splitlines()[0] == "owner,project,attempts,device_minutes"
    assert table.text.count("default") == 2
    assert_problem(http.get("/api/v1/users/lee/quotas", headers=kim.headers), 404, "user-not-found")
    assert set_quotas(http, tea, "projects/default", queued_jobs=1).status_code == HTTPStatus.FORBIDDEN
    assert http.get("/api/v1/projects/default/quotas", headers=kim.headers).json["use"]["running_jobs"] == 2
    assert_problem(set_quotas(http, admin, "users/nobody", queued_jobs=1), 404, "user-not-found")
    assert set_quotas(http, admin, "users/kim", queued_jobs=-1).status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    set_quotas(http, admin, "users/kim", queued_jobs=5)
    (event,) = http.get("/api/v1/audit?action=quotas-changed", headers=admin.headers).json["events"]
    assert (event["object"], event["before"], event["after"]) == ("kim", {}, {"queued_jobs": 5})


def test_old_records_are_deleted(http: FlaskClient, sessions: Sessions, admin: Person) -> None:
    submit(http, admin)
    job = claim(sessions)
    assert job is not None
    with sessions.begin() as session:
        lifecycle.finish_fold(session, job.id, job.attempt, {})
        session.flush()
        session.execute(update(UsageRecord).values(ended_at=now(-(usage.KEPT_DAYS + 1) * 24 * 3600)))

    with sessions.begin() as session:
        usage.delete_expired(session)

    with sessions() as session:
        assert session.scalars(select(UsageRecord)).all() == []
