"""Test that what is in a project does not exist for everybody else."""

import re
from http import HTTPStatus
from typing import Any

import pytest
from flask.testing import FlaskClient

from api.access.needs import find_need
from api.app import build_application
from shared.access.rights import Role, Scope
from tests.integration.access.conftest import Enter, Person, upload
from tests.support.examples import DIGITS, XOR, changed
from tests.support.problems import assert_problem
from tests.support.worker import InProcessWorker

NIL = "00000000-0000-0000-0000-000000000000"
PREDICT = "/api/v1/models/digits/predictions"
IMAGE = {"instances": [[[0.0] * 8] * 8]}


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


def test_a_hidden_job_is_not_named_by_a_refusal(http: FlaskClient, kim: Person, enter: Enter) -> None:
    boss, eve = enter("boss", "north", Role.MAINTAINER), enter("eve", "south", Role.MEMBER)
    http.patch("/api/v1/datasets/points", json={"visibility": "everyone"}, headers=kim.headers)
    spec = changed(changed(XOR, "model", "own"), "dataset", {"name": "points"})
    spec = changed(spec, "network.layers", [{"layer": "Dense", "units": 2, "activation": "softmax"}])
    job = http.post("/api/v1/jobs", json=changed(spec, "training", {"epochs": 1}), headers=eve.headers).json

    refused = http.delete("/api/v1/datasets/points?versions=keep", headers=boss.headers)

    assert "jobs of another project" in assert_problem(refused, 409, "dataset-in-use")["detail"]
    assert job["id"] not in refused.text


def test_lists_can_show_one_project(http: FlaskClient, kim: Person, admin: Person) -> None:
    assert upload(http, admin, "others").status_code == HTTPStatus.CREATED
    for project, models, datasets, jobs in (("north", ["digits"], ["points"], 2), ("default", [], ["others"], 0)):
        query = f"?project={project}"
        assert list_names(http, f"/api/v1/models{query}", "models", admin) == models
        assert list_names(http, f"/api/v1/datasets{query}", "datasets", admin) == datasets
        assert len(list_names(http, f"/api/v1/jobs{query}", "jobs", admin)) == jobs
        page = http.get(f"/ui/models{query}", headers=admin.headers).text
        assert f'<option value="{project}" selected>' in page
        assert (">digits</a>" in page) == ("digits" in models)
    assert list_names(http, "/api/v1/datasets?project=default", "datasets", kim) == []


def test_a_publication_is_in_the_log_once(
    http: FlaskClient, kim: Person, admin: Person, worker: InProcessWorker
) -> None:
    job = http.post("/api/v1/jobs", json={**XOR, "publish": False}, headers=kim.headers).json
    worker.run_all()
    for person in (kim, admin, kim):
        assert http.post(f"/api/v1/jobs/{job['id']}/publication", headers=person.headers).json["version"]
    events = http.get(f"/api/v1/audit?object=job:{job['id']}", headers=admin.headers).json["events"]

    assert [(event["actor"], event["action"]) for event in events] == [("kim", "job-published")]


def test_cookies_of_other_programs_do_not_close_a_public_model(http: FlaskClient, kim: Person, admin: Person) -> None:
    assert kim
    http.patch("/api/v1/models/digits", json={"predictions": "public"}, headers=admin.headers)

    for cookie in ("x=y", "trainyard-session=stale"):
        assert http.get("/v2/models/digits", headers={"Cookie": cookie}).status_code == HTTPStatus.OK
    assert http.post(PREDICT, json=IMAGE, headers={"Cookie": "x=y"}).status_code == HTTPStatus.OK
