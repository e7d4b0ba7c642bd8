"""Test that projects keep their models, data sets and jobs to themselves."""

import io
import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import update

from api.access.needs import find_need
from api.app import build_application
from api.services import EXTENSION
from shared.access import projects
from shared.access.audit import count_change
from shared.access.rights import Role, Scope
from shared.database.engine import Sessions
from shared.database.tables.jobs import Job, JobStatus
from shared.database.tables.registry import Model
from tests.integration.access.conftest import COMMAND, Person
from tests.support.examples import DIGITS, XOR, changed
from tests.support.problems import assert_problem

Join = Callable[[str, Role], Person]
NIL = "00000000-0000-0000-0000-000000000000"
CSV = b"a,b,kind\n" + b"1,2,x\n2,1,y\n3,4,x\n4,3,y\n5,6,x\n6,5,y\n" * 4
PREDICT = "/api/v1/models/digits/predictions"
IMAGE = {"instances": [[[0.0] * 8] * 8]}


@pytest.fixture
def enter(sessions: Sessions, join: Join) -> Callable[[str, str, Role], Person]:
    """Return a function that makes a user with a role in a project, which it creates."""

    def enter(login: str, project: str, role: Role) -> Person:
        person = join(login, role)
        with sessions.begin() as session:
            projects.put_project(session, COMMAND, project, None)
            projects.set_member(session, COMMAND, project, login, role)
            projects.remove_member(session, COMMAND, "default", login)
        return person

    return enter


Enter = Callable[[str, str, Role], Person]


def upload(http: FlaskClient, person: Person, name: str, **fields: str) -> Any:
    data = {"name": name, "file": (io.BytesIO(CSV), "points.csv"), **fields}
    return http.post("/api/v1/datasets", data=data, headers=person.headers)


@pytest.fixture
def kim(digits: FlaskClient, sessions: Sessions, admin: Person, enter: Enter) -> Person:
    """Provide a member of the class `north`, with the model `digits`, the data set `points`, and a queued job."""
    assert admin
    person = enter("kim", "north", Role.MEMBER)
    with sessions.begin() as session:
        session.execute(update(Model).where(Model.name == "digits").values(project="north", created_by="kim"))
        session.execute(update(Job).values(project="north"))
    assert upload(digits, person, "points").status_code == HTTPStatus.CREATED
    assert digits.post("/api/v1/jobs", json=XOR, headers=person.headers).status_code == HTTPStatus.ACCEPTED
    return person


def list_names(http: FlaskClient, path: str, key: str, person: Person) -> list[str]:
    return [one.get("name") or one["id"] for one in http.get(path, headers=person.headers).json[key]]


def list_rules_with_objects() -> list[tuple[str, str, dict[str, str], str]]:
    """Return method, rule, the kinds of objects by parameter, and endpoint of each rule that names an object."""
    app = build_application()
    found = []
    for rule in app.url_map.iter_rules():
        kinds: dict[str, str] = {}
        for argument in rule.arguments:
            if argument in ("model", "job_id", "project"):
                kinds[argument] = argument
            elif argument == "name" and rule.endpoint in ("mlflow.invoke", "hugging_face.classify"):
                kinds[argument] = "model"
            elif argument == "name" and rule.endpoint.startswith(("datasets.", "dataset_rows.", "web.show_dataset")):
                kinds[argument] = "dataset"
            elif argument == "rest" and rule.endpoint.startswith("tf_serving."):
                kinds[argument] = "path"
        if kinds and isinstance(find_need(app, rule.endpoint), Scope):
            methods = (rule.methods or set()) - {"HEAD", "OPTIONS"}
            found += [(method, rule.rule, kinds, rule.endpoint) for method in methods]
    return sorted(found, key=lambda one: one[:2])


OBJECT_RULES = list_rules_with_objects()
OTHER_ARGUMENTS = {
    "picture_format": "png",
    "answer_format": "jsonl",
    "reference": "1",
    "version": "1",
    "number": "1",
    "index": "0",
    "_": "v1",
    "login": "kim",
    "alias": "production",
    "file": "model.keras",
    "layer": "dense",
    "key": "digits",
}


def build_path(rule: str, kinds: dict[str, str], names: dict[str, str]) -> str:
    def fill(found: re.Match[str]) -> str:
        argument = found[1].rpartition(":")[2]
        return names[kinds[argument]] if argument in kinds else OTHER_ARGUMENTS[argument]

    return re.sub("<([^>]+)>", fill, rule)


def test_every_address_of_a_strangers_object_answers_as_if_there_was_none(
    http: FlaskClient, kim: Person, enter: Enter
) -> None:
    assert len(OBJECT_RULES) > 90
    eve = enter("eve", "south", Role.MAINTAINER)
    mine = http.get("/api/v1/jobs", headers=kim.headers).json["jobs"]
    real = {"model": "digits", "dataset": "points", "job_id": mine[0]["id"], "project": "north"}
    real["path"] = "models/digits"
    missing = {"model": "zigits", "dataset": "zoints", "job_id": NIL, "project": "zorth", "path": "models/zigits"}
    wrong: list[object] = []
    for method, rule, kinds, endpoint in OBJECT_RULES:
        answers = [
            http.open(build_path(rule, kinds, names), method=method, headers=eve.headers, json={})
            for names in (real, missing)
        ]
        texts = [
            re.sub("digits|zigits|points|zoints|north|zorth", "…", one.text).replace(mine[0]["id"], NIL)
            for one in answers
        ]
        texts = [re.sub(r"Did you mean[^?]*\?|\"request_id\":\"[^\"]*\"|[0-9a-f]{32}", "", text) for text in texts]
        if answers[0].status_code != answers[1].status_code or answers[0].status_code < 400:
            wrong.append((endpoint, method, [one.status_code for one in answers], answers[0].text[:200]))
        elif not endpoint.startswith("web.") and texts[0] != texts[1]:
            wrong.append((endpoint, method, texts))

    assert wrong == []
    assert http.get("/api/v1/jobs", headers=kim.headers).json["jobs"] == mine  # nothing has changed
    assert http.get("/api/v1/models/digits", headers=kim.headers).json["aliases"] == {}


def test_lists_have_only_what_ones_projects_have(http: FlaskClient, kim: Person, admin: Person, enter: Enter) -> None:
    eve = enter("eve", "south", Role.MAINTAINER)
    lists = [("/api/v1/models", "models"), ("/api/v1/jobs", "jobs"), ("/api/v1/queue", "jobs")]
    (job_id,) = list_names(http, "/api/v1/queue", "jobs", kim)

    assert [list_names(http, path, key, eve) for path, key in lists] == [[], [], []]
    assert [bool(list_names(http, path, key, kim)) for path, key in lists] == [True, True, True]
    assert [bool(list_names(http, path, key, admin)) for path, key in lists] == [True, True, True]
    assert "points" not in list_names(http, "/api/v1/datasets", "datasets", eve)
    assert "digits" in list_names(http, "/api/v1/datasets", "datasets", eve)  # a built-in one
    assert http.get("/api/v1/queue", headers=eve.headers).json["total"] == 1
    assert http.get(f"/api/v1/jobs?ids={job_id}", headers=eve.headers).json["jobs"] == []
    for path, body in (("/v2/models", None), ("/v1/models", None), ("/v1/config", None), ("/v2/repository/index", {})):
        answer = http.open(path, method="POST" if body is not None else "GET", json=body, headers=eve.headers)
        assert "digits" not in answer.text, path
    http.post(PREDICT, json=IMAGE, headers=kim.headers)
    assert "digits" in http.get("/v2/models/stats", headers=kim.headers).text
    assert "digits" not in http.get("/v2/models/stats", headers=eve.headers).text
    for page in ("/ui/", "/ui/jobs", "/ui/models", "/ui/queue"):
        assert job_id not in http.get(page, headers=eve.headers).text, page


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("network", {"from": "digits"}),
        ("dataset", {"name": "points"}),
        ("dataset", {"name": "points@1"}),
        ("dataset", {"name": "digits", "limit": 200, "validation": {"dataset": "points"}}),
    ],
    ids=["network.from", "dataset.name", "revision", "validation"],
)
def test_a_spec_that_names_a_strangers_object_is_refused_as_if_there_was_none(
    http: FlaskClient, kim: Person, enter: Enter, path: str, body: dict[str, Any]
) -> None:
    assert kim
    eve = enter("eve", "south", Role.MAINTAINER)
    spec = changed(changed(DIGITS, "model", "own"), path, body)
    text = {"digits": "zigits", "points": "zoints"}
    other = changed(spec, path, {key: _rename(value, text, key) for key, value in body.items()})

    refused = http.post("/api/v1/jobs", json=spec, headers=eve.headers)
    missing = http.post("/api/v1/jobs", json=other, headers=eve.headers)

    assert refused.status_code == missing.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    assert [fault["pointer"] for fault in refused.json["errors"]] == [f["pointer"] for f in missing.json["errors"]]


def _rename(value: Any, names: dict[str, str], key: str) -> Any:
    if isinstance(value, dict):
        return {inner: _rename(one, names, inner) for inner, one in value.items()}
    if not isinstance(value, str) or (key == "name" and value == "digits"):
        return value
    name, at, number = value.partition("@")
    return names.get(name, name) + at + number


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


def test_predictions_of_another_projects_model_are_refused_also_before_flask(
    http: FlaskClient, kim: Person, enter: Enter, met_by_flask: list[str]
) -> None:
    eve = enter("eve", "south", Role.VIEWER)

    for _ in range(3):
        assert http.post(PREDICT, json=IMAGE, headers=kim.headers).status_code == HTTPStatus.OK
        assert http.post(PREDICT, json=IMAGE, headers=eve.headers).status_code == HTTPStatus.NOT_FOUND
    assert len([path for path in met_by_flask if path.startswith(PREDICT)]) == 1 + 3


def test_one_who_leaves_a_project_no_longer_predicts(
    http: FlaskClient, kim: Person, admin: Person, enter: Enter
) -> None:
    lee = enter("lee", "north", Role.VIEWER)
    before = http.post(PREDICT, json=IMAGE, headers=lee.headers).status_code

    http.delete("/api/v1/projects/north/members/lee", headers=admin.headers)

    assert kim
    assert before == HTTPStatus.OK
    assert http.post(PREDICT, json=IMAGE, headers=lee.headers).status_code == HTTPStatus.FORBIDDEN


def test_public_predictions_need_no_key_and_nothing_else_is_open(
    http: FlaskClient, kim: Person, enter: Enter, met_by_flask: list[str]
) -> None:
    boss = enter("boss", "north", Role.MAINTAINER)
    paths = [PREDICT, "/models/digits", "/models/digits/invocations", "/v2/models/digits/infer"]
    refused = [http.post(path, json=IMAGE).status_code for path in paths]

    opened = http.patch("/api/v1/models/digits", json={"predictions": "public"}, headers=boss.headers)
    before = len(met_by_flask)
    answers = [http.post(PREDICT, json=IMAGE).status_code for _ in range(3)]
    others = [http.post(path, json=IMAGE).status_code for path in paths[1:]]
    closed = [http.get(path).status_code for path in ("/api/v1/models/digits", "/api/v1/models", "/v2/models/digits")]

    assert kim
    assert opened.json["predictions"] == "public"
    assert refused == [HTTPStatus.UNAUTHORIZED] * 4
    assert answers == [HTTPStatus.OK] * 3
    assert len(met_by_flask) - before <= 1 + len(others) + len(closed)
    assert HTTPStatus.UNAUTHORIZED not in others
    assert closed == [HTTPStatus.UNAUTHORIZED, HTTPStatus.UNAUTHORIZED, HTTPStatus.OK]
    http.patch("/api/v1/models/digits", json={"predictions": "project"}, headers=boss.headers)
    assert http.post(PREDICT, json=IMAGE).status_code == HTTPStatus.UNAUTHORIZED


def test_private_data_are_seen_by_their_owner_and_the_maintainers(http: FlaskClient, kim: Person, enter: Enter) -> None:
    lee, boss = enter("lee", "north", Role.MEMBER), enter("boss", "north", Role.MAINTAINER)
    eve = enter("eve", "south", Role.MAINTAINER)
    upload(http, kim, "secret", visibility="private")

    def list_statuses() -> list[int]:
        people = (kim, lee, boss, eve)
        return [http.get("/api/v1/datasets/secret", headers=person.headers).status_code for person in people]

    assert list_statuses() == [200, 404, 200, 404]
    assert (
        http.patch("/api/v1/datasets/secret", json={"visibility": "everyone"}, headers=lee.headers).status_code == 404
    )
    http.patch("/api/v1/datasets/secret", json={"visibility": "project"}, headers=kim.headers)
    assert list_statuses() == [200, 200, 200, 404]
    http.patch("/api/v1/datasets/secret", json={"visibility": "everyone"}, headers=boss.headers)
    assert list_statuses() == [200, 200, 200, 200]
    refused = http.patch("/api/v1/datasets/secret", json={"visibility": "private"}, headers=eve.headers)
    assert_problem(refused, 403, "not-allowed")


def test_a_private_job_is_seen_by_its_owner_and_the_maintainers(http: FlaskClient, kim: Person, enter: Enter) -> None:
    lee, boss = enter("lee", "north", Role.MEMBER), enter("boss", "north", Role.MAINTAINER)
    eve = enter("eve", "south", Role.MEMBER)
    spec = changed(DIGITS, "model", "own")
    job = http.post("/api/v1/jobs?visibility=private", json=spec, headers=kim.headers).json
    path = f"/api/v1/jobs/{job['id']}"

    def list_statuses() -> list[int]:
        return [http.get(path, headers=person.headers).status_code for person in (kim, lee, boss, eve)]

    assert job["visibility"] == "private"
    assert list_statuses() == [200, 404, 200, 404]
    http.patch(path, json={"visibility": "everyone"}, headers=kim.headers)
    assert list_statuses() == [200, 200, 200, 200]
    assert http.post(f"{path}/cancellation", headers=eve.headers).status_code == HTTPStatus.FORBIDDEN


def test_the_stream_of_all_jobs_has_those_that_one_sees(http: FlaskClient, kim: Person, enter: Enter) -> None:
    eve = enter("eve", "south", Role.MEMBER)

    def read_first(person: Person) -> str:
        answer = http.get("/api/v1/events", headers=person.headers, buffered=False)
        try:
            events: Any = answer.response
            return str(next(iter(events)), "utf-8")
        finally:
            answer.close()

    assert '"model":"xor"' in read_first(kim)
    assert read_first(eve) == 'event: jobs\ndata: {"jobs":[],"queued":1}\n\n'


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


def test_a_hidden_job_is_not_named_by_a_refusal(http: FlaskClient, kim: Person, enter: Enter) -> None:
    boss, eve = enter("boss", "north", Role.MAINTAINER), enter("eve", "south", Role.MEMBER)
    http.patch("/api/v1/datasets/points", json={"visibility": "everyone"}, headers=kim.headers)
    spec = changed(changed(XOR, "model", "own"), "dataset", {"name": "points"})
    spec = changed(spec, "network.layers", [{"layer": "Dense", "units": 2, "activation": "softmax"}])
    job = http.post("/api/v1/jobs", json=changed(spec, "training", {"epochs": 1}), headers=eve.headers).json

    refused = http.delete("/api/v1/datasets/points?versions=keep", headers=boss.headers)

    assert "jobs of another project" in assert_problem(refused, 409, "dataset-in-use")["detail"]
    assert job["id"] not in refused.text


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
