"""Test projects, their members, their names, and what happens at their end."""

from http import HTTPStatus
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import update

from api.services import EXTENSION
from shared.access import projects
from shared.access.audit import count_change
from shared.access.rights import Role
from shared.database.engine import Sessions
from shared.database.tables.jobs import Job, JobStatus
from shared.database.tables.registry import Model
from tests.integration.access.conftest import COMMAND, Enter, Person, upload
from tests.support.examples import DIGITS, XOR, changed
from tests.support.problems import assert_problem

NIL = "00000000-0000-0000-0000-000000000000"
PREDICT = "/api/v1/models/digits/predictions"
IMAGE = {"instances": [[[0.0] * 8] * 8]}


def list_names(http: FlaskClient, path: str, key: str, person: Person) -> list[str]:
    return [one.get("name") or one["id"] for one in http.get(path, headers=person.headers).json[key]]


def test_a_name_belongs_to_its_project(http: FlaskClient, kim: Person, enter: Enter) -> None:
    eve, boss = enter("eve", "south", Role.MAINTAINER), enter("boss", "north", Role.MAINTAINER)
    spec = {**DIGITS, "model": "xor"}

    assert kim
    for answer in (http.post("/api/v1/jobs", json=spec, headers=eve.headers), upload(http, eve, "points")):
        assert "another project" in assert_problem(answer, 409, "name-taken")["detail"]
    assert http.post("/api/v1/jobs", json=spec, headers=boss.headers).json["project"] == "north"


def test_the_role_is_that_in_the_project_of_the_object(
    http: FlaskClient, sessions: Sessions, kim: Person, admin: Person, enter: Enter
) -> None:
    tea = enter("tea", "south", Role.MAINTAINER)
    with sessions.begin() as session:
        projects.set_member(session, COMMAND, "north", "tea", Role.VIEWER)
    mine = http.get("/api/v1/jobs?status=queued", headers=kim.headers).json["jobs"][0]["id"]

    assert http.get("/api/v1/models/digits", headers=tea.headers).status_code == HTTPStatus.OK
    refusals = [
        http.patch("/api/v1/models/digits", json={"description": "x"}, headers=tea.headers),
        http.put("/api/v1/models/digits/aliases/production", json={"version": 1}, headers=tea.headers),
        http.delete("/api/v1/models/digits/versions/1", headers=tea.headers),
        http.post("/api/v1/models/digits/versions/1/exports", json={"format": "tflite"}, headers=tea.headers),
        http.post("/v2/repository/models/digits/unload", json={}, headers=tea.headers),
        http.delete("/api/v1/datasets/points", headers=tea.headers),
        http.post(f"/api/v1/jobs/{mine}/cancellation", headers=tea.headers),
        http.put("/api/v1/projects/north/members/eve", json={"role": "member"}, headers=tea.headers),
        http.post("/api/v1/jobs?project=north", json=DIGITS, headers=tea.headers),
    ]
    assert [answer.status_code for answer in refusals] == [HTTPStatus.FORBIDDEN] * len(refusals)
    here = http.post("/api/v1/jobs", json=changed(DIGITS, "model", "tea"), headers=tea.headers).json
    assert here["project"] == "south"
    http.put("/api/v1/projects/north/members/tea", json={"role": "maintainer"}, headers=admin.headers)
    assert http.post(f"/api/v1/jobs/{mine}/cancellation", headers=tea.headers).status_code == HTTPStatus.OK
    there = http.post("/api/v1/jobs?project=north", json=changed(DIGITS, "model", "t"), headers=tea.headers).json
    assert there["project"] == "north"


def test_an_archived_project_can_only_be_read(
    http: FlaskClient, sessions: Sessions, kim: Person, admin: Person, enter: Enter
) -> None:
    boss = enter("boss", "north", Role.MAINTAINER)
    lee = enter("lee", "north", Role.MEMBER)
    with sessions.begin() as session:
        projects.put_project(session, COMMAND, "south", None)
        projects.set_member(session, COMMAND, "south", "lee", Role.MEMBER)
    queued = http.get("/api/v1/jobs?status=queued", headers=kim.headers).json["jobs"][0]["id"]

    archived = http.post("/api/v1/projects/north/archive", headers=admin.headers).json
    again = http.post("/api/v1/projects/north/archive", headers=admin.headers).json

    assert archived["archived_at"] == again["archived_at"] is not None
    with sessions() as session:
        assert {job.id: job.status for job in session.query(Job).where(Job.status == JobStatus.QUEUED)} == {}
    assert http.get(f"/api/v1/jobs/{queued}", headers=admin.headers).json["status"] == "cancelled"
    assert http.get("/api/v1/me", headers=kim.headers).status_code == HTTPStatus.UNAUTHORIZED
    assert http.get("/api/v1/models/digits", headers=boss.headers).status_code == HTTPStatus.OK
    refused = http.post("/api/v1/jobs", json=DIGITS, headers=boss.headers)
    assert "archived: 'north'" in assert_problem(refused, 403, "not-allowed")["detail"]
    assert http.get("/api/v1/models/digits", headers=lee.headers).status_code == HTTPStatus.OK
    assert http.post("/api/v1/jobs", json=changed(DIGITS, "model", "l"), headers=lee.headers).json["project"] == "south"
    http.delete("/api/v1/projects/north/archive", headers=admin.headers)
    assert http.post("/api/v1/jobs", json=DIGITS, headers=boss.headers).status_code == HTTPStatus.ACCEPTED


def test_maintainers_invite_to_their_own_projects(http: FlaskClient, kim: Person, enter: Enter, admin: Person) -> None:
    boss = enter("boss", "north", Role.MAINTAINER)
    enter("eve", "south", Role.MEMBER)
    http.post("/api/v1/invitations", json=[{"login": "ada2", "project": "south"}], headers=admin.headers)

    def invite(**guest: str) -> Any:
        return http.post("/api/v1/invitations", json=[guest], headers=boss.headers)

    made = invite(login="new").json["invitations"][0]
    joined = invite(login="eve").json["invitations"][0]

    assert kim
    assert (made["project"], made["role"], bool(made["link"])) == ("north", "member", True)
    assert (joined["joined"], joined["link"]) == (True, None)
    members = http.get("/api/v1/projects/north/members", headers=boss.headers).json["members"]
    assert [(one["login"], one["role"]) for one in members] == [
        ("boss", "maintainer"),
        ("eve", "member"),
        ("kim", "member"),
    ]
    for refused in (
        invite(login="x2", project="south"),
        invite(login="x2", role="admin"),
        invite(login="ada2"),
    ):
        assert_problem(refused, 422, "invalid-request")
    listed = http.get("/api/v1/invitations", headers=boss.headers).json["invitations"]
    assert [one["login"] for one in listed] == ["new"]
    (other,) = [
        one["id"]
        for one in http.get("/api/v1/invitations", headers=admin.headers).json["invitations"]
        if one["login"] == "ada2"
    ]
    withdrawn = http.delete(f"/api/v1/invitations/{other}", headers=boss.headers)
    assert_problem(withdrawn, 404, "invitation-not-found")


def test_a_table_tells_the_line_of_who_may_not_be_invited(http: FlaskClient, enter: Enter, admin: Person) -> None:
    boss = enter("boss", "north", Role.MAINTAINER)
    table = "login,role,project\nnew,member,north\n\nx2,member,south\n"
    refused = http.post("/api/v1/invitations", data=table, headers={"Content-Type": "text/csv", **boss.headers})

    (fault,) = assert_problem(refused, 422, "invalid-request")["errors"]
    assert (fault["line"], fault["pointer"]) == (4, "#/1/project")
    assert fault["detail"].startswith("Line 4, 'x2': ")
    assert http.get("/api/v1/invitations", headers=admin.headers).json["invitations"] == []


def test_projects_are_made_by_admins_and_seen_by_their_members(
    http: FlaskClient, kim: Person, admin: Person, enter: Enter
) -> None:
    boss = enter("boss", "north", Role.MAINTAINER)
    path = "/api/v1/projects/class-9"

    made = http.put(path, json={"description": "Thirty students"}, headers=admin.headers)
    again = http.put(path, json={}, headers=admin.headers)

    assert (made.status_code, again.status_code) == (HTTPStatus.CREATED, HTTPStatus.OK)
    assert again.json["description"] == "Thirty students"
    assert list_names(http, "/api/v1/projects", "projects", admin) == ["class-9", "default", "north"]
    assert list_names(http, "/api/v1/projects", "projects", kim) == ["north"]
    assert http.put(path, json={}, headers=boss.headers).status_code == HTTPStatus.FORBIDDEN
    assert http.put("/api/v1/projects/No Name", json={}, headers=admin.headers).status_code == 422
    unknown = http.put(f"{path}/members/nobody", json={"role": "member"}, headers=admin.headers)
    assert_problem(unknown, 404, "user-not-found")
    assert http.put(f"{path}/members/kim", json={"role": "admin"}, headers=admin.headers).status_code == 422


def test_a_data_set_in_use_elsewhere_is_not_deleted(http: FlaskClient, kim: Person, enter: Enter) -> None:
    boss, eve = enter("boss", "north", Role.MAINTAINER), enter("eve", "south", Role.MEMBER)
    http.patch("/api/v1/datasets/points", json={"visibility": "everyone"}, headers=kim.headers)
    spec = {
        "model": "own",
        "dataset": {"name": "points"},
        "network": {"layers": [{"layer": "Dense", "units": 2, "activation": "softmax"}]},
        "training": {"epochs": 1},
    }
    assert http.post("/api/v1/jobs", json=spec, headers=eve.headers).status_code == HTTPStatus.ACCEPTED

    assert_problem(http.delete("/api/v1/datasets/points", headers=boss.headers), 409, "dataset-in-use")


def test_a_change_of_a_model_is_known_in_every_process(app: Flask, sessions: Sessions, kim: Person) -> None:
    gate = app.extensions[EXTENSION].gate

    with sessions.begin() as session:
        session.execute(update(Model).where(Model.name == "digits").values(predictions="public"))
        count_change(session)

    assert kim
    assert gate.find_model("digits").predictions == "public"


def test_an_admin_moves_a_model_and_a_data_set(http: FlaskClient, kim: Person, admin: Person, enter: Enter) -> None:
    boss, eve = enter("boss", "north", Role.MAINTAINER), enter("eve", "south", Role.MEMBER)
    (job_id,) = list_names(http, "/api/v1/queue", "jobs", kim)
    http.post(PREDICT, json=IMAGE, headers=kim.headers)
    for path in ("models/digits", "models/xor", "datasets/points"):
        refused = http.patch(f"/api/v1/{path}", json={"project": "south"}, headers=boss.headers)
        if path != "models/xor":  # it has no version yet
            assert_problem(refused, 403, "not-allowed")

    for path in ("models/digits", "datasets/points"):
        moved = http.patch(f"/api/v1/{path}", json={"project": "south"}, headers=admin.headers)
        assert moved.json["project"] == "south"

    for path, status in (("/api/v1/models/digits", 200), ("/api/v1/datasets/points", 200)):
        assert http.get(path, headers=eve.headers).status_code == status
    assert http.get("/api/v1/models/digits", headers=kim.headers).status_code == HTTPStatus.NOT_FOUND
    assert http.post(PREDICT, json=IMAGE, headers=kim.headers).status_code == HTTPStatus.NOT_FOUND
    assert http.get("/api/v1/jobs?model=digits", headers=eve.headers).json["jobs"] != []
    assert http.get(f"/api/v1/jobs/{job_id}", headers=kim.headers).status_code == HTTPStatus.OK
    nowhere = http.patch("/api/v1/models/digits", json={"project": "nowhere"}, headers=admin.headers)
    assert_problem(nowhere, 404, "project-not-found")


def test_one_who_left_a_project_sees_and_changes_nothing_there(
    http: FlaskClient, sessions: Sessions, kim: Person, admin: Person
) -> None:
    with sessions.begin() as session:
        projects.put_project(session, COMMAND, "south", None)
        projects.set_member(session, COMMAND, "south", "kim", Role.MEMBER)
    (job_id,) = list_names(http, "/api/v1/queue", "jobs", kim)
    http.delete("/api/v1/projects/north/members/kim", headers=admin.headers)

    job = f"/api/v1/jobs/{job_id}"
    answers = [
        http.get(job, headers=kim.headers),
        http.patch(job, json={"visibility": "everyone"}, headers=kim.headers),
        http.post(f"{job}/retry", headers=kim.headers),
        http.get("/api/v1/datasets/points", headers=kim.headers),
        http.patch("/api/v1/datasets/points", json={"visibility": "everyone"}, headers=kim.headers),
    ]

    assert [answer.status_code for answer in answers] == [HTTPStatus.NOT_FOUND] * len(answers)
    assert http.get(job, headers=admin.headers).json["status"] == "cancelled"
    (event,) = http.get("/api/v1/audit?action=job-cancelled", headers=admin.headers).json["events"]
    assert (event["object"], event["before"]) == (job_id, {"owner": "kim"})


def test_owners_change_nothing_in_an_archived_project(http: FlaskClient, kim: Person, admin: Person) -> None:
    (job_id,) = list_names(http, "/api/v1/queue", "jobs", kim)
    http.put("/api/v1/projects/south", json={}, headers=admin.headers)
    http.put("/api/v1/projects/south/members/kim", json={"role": "member"}, headers=admin.headers)
    http.post("/api/v1/projects/north/archive", headers=admin.headers)

    answers = [
        http.patch(f"/api/v1/jobs/{job_id}", json={"visibility": "everyone"}, headers=kim.headers),
        http.post(f"/api/v1/jobs/{job_id}/retry", headers=kim.headers),
        http.delete(f"/api/v1/jobs/{job_id}", headers=kim.headers),
        http.patch("/api/v1/datasets/points", json={"visibility": "everyone"}, headers=kim.headers),
    ]
    of_admin = [
        http.post("/api/v1/jobs?project=north", json=changed(DIGITS, "model", "n"), headers=admin.headers),
        http.put("/api/v1/projects/north/members/ada", json={"role": "member"}, headers=admin.headers),
        http.post("/api/v1/invitations", json=[{"login": "new", "project": "north"}], headers=admin.headers),
    ]

    assert [answer.status_code for answer in answers] == [HTTPStatus.FORBIDDEN] * len(answers)
    assert "archived" in answers[0].json["detail"]
    for answer in of_admin:
        assert_problem(answer, 409, "project-archived")


def test_a_retry_starts_only_from_what_one_still_sees(http: FlaskClient, kim: Person, admin: Person) -> None:
    http.put("/api/v1/projects/south", json={}, headers=admin.headers)
    http.put("/api/v1/projects/south/members/kim", json={"role": "member"}, headers=admin.headers)
    spec = changed(changed(DIGITS, "model", "own"), "network", {"from": "digits@1"})
    job = http.post("/api/v1/jobs?project=south", json=spec, headers=kim.headers).json
    http.post(f"/api/v1/jobs/{job['id']}/cancellation", headers=kim.headers)
    http.delete("/api/v1/projects/north/members/kim", headers=admin.headers)

    refused = http.post(f"/api/v1/jobs/{job['id']}/retry", headers=kim.headers)

    assert "#/network/from" in assert_problem(refused, 422, "invalid-request")["errors"][0]["pointer"]


def test_a_name_under_which_nothing_was_published_is_free_again(http: FlaskClient, kim: Person, enter: Enter) -> None:
    eve = enter("eve", "south", Role.MEMBER)
    taken = http.post("/api/v1/jobs", json=XOR, headers=eve.headers)
    (job_id,) = list_names(http, "/api/v1/queue", "jobs", kim)
    http.post(f"/api/v1/jobs/{job_id}/cancellation", headers=kim.headers)

    freed = http.post("/api/v1/jobs", json=XOR, headers=eve.headers)

    assert_problem(taken, 409, "name-taken")
    assert (freed.status_code, freed.json["project"]) == (HTTPStatus.ACCEPTED, "south")
    assert_problem(http.post(f"/api/v1/jobs/{job_id}/retry", headers=kim.headers), 409, "name-taken")
    assert http.post("/api/v1/jobs", json=DIGITS, headers=eve.headers).status_code == HTTPStatus.CONFLICT


def test_an_upload_that_shows_a_data_set_to_more_is_in_the_log(http: FlaskClient, kim: Person, admin: Person) -> None:
    upload(http, kim, "secret", visibility="private")
    upload(http, kim, "secret", visibility="everyone")

    events = http.get("/api/v1/audit?action=dataset-edited&object=secret", headers=admin.headers).json["events"]

    assert [event["after"]["visibility"] for event in events] == ["everyone", "private"]


def test_an_idempotency_key_of_a_project_that_one_has_left_is_used_up(
    http: FlaskClient, kim: Person, admin: Person
) -> None:
    http.put("/api/v1/projects/south", json={}, headers=admin.headers)
    http.put("/api/v1/projects/south/members/kim", json={"role": "member"}, headers=admin.headers)
    headers = {**kim.headers, "Idempotency-Key": "once"}
    first = http.post("/api/v1/jobs", json=changed(XOR, "model", "a"), headers=headers)
    again = http.post("/api/v1/jobs", json=changed(XOR, "model", "a"), headers=headers)
    http.delete("/api/v1/projects/north/members/kim", headers=admin.headers)

    other = http.post("/api/v1/jobs", json=changed(XOR, "model", "a"), headers=headers)

    assert first.json["id"] == again.json["id"]
    assert_problem(other, 422, "idempotency-key-reused")


def test_a_recipe_opens_with_a_name_that_one_can_use(http: FlaskClient, kim: Person, enter: Enter) -> None:
    eve = enter("eve", "south", Role.MEMBER)
    pages = [http.get("/ui/jobs/new?recipe=digits-cnn", headers=person.headers) for person in (kim, eve)]
    assert [page.status_code for page in pages] == [HTTPStatus.OK] * 2
    http.post("/api/v1/jobs", json={**DIGITS, "model": "digits-cnn"}, headers=kim.headers)
    own, others = (http.get("/ui/jobs/new?recipe=digits-cnn", headers=person.headers).text for person in (kim, eve))

    assert "model: digits-cnn\n" in own
    assert "model: digits-cnn.eve\n" in others
