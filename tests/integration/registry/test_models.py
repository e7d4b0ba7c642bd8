"""Test how clients list, read, alias and delete models and versions."""

import hashlib
import json
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from shared.database.engine import Sessions
from shared.devices import Device
from shared.jobs import lifecycle, publishing, submission
from shared.registry import versions
from shared.spec.training import TrainingSpec
from shared.storage import tracked_files
from tests.support.examples import XOR, Json, changed
from tests.support.problems import assert_problem
from tests.support.versions import PublishedVersion
from tests.support.worker import InProcessWorker


@pytest.fixture
def xor(
    http: FlaskClient, worker: InProcessWorker, sessions: Sessions, published: Callable[[Json], PublishedVersion]
) -> FlaskClient:
    """Provide the client, with versions 1 and 2 of the model `xor` published."""
    for _ in range(2):
        published(XOR).publish(sessions, worker.context.artifacts)
    return http


def test_a_model_is_shown_with_its_versions(xor: FlaskClient) -> None:
    model = xor.get("/api/v1/models/xor").json

    assert (model["name"], model["latest"], model["versions"], model["aliases"]) == ("xor", 2, 2, {})
    assert xor.get("/api/v1/models").json["models"] == [model]
    assert [version["version"] for version in xor.get("/api/v1/models/xor/versions").json["versions"]] == [2, 1]


@pytest.mark.parametrize(("reference", "number"), [("1", 1), ("2", 2), ("latest", 2), ("production", 1)])
def test_a_version_is_found_by_number_latest_or_alias(xor: FlaskClient, reference: str, number: int) -> None:
    xor.put("/api/v1/models/xor/aliases/production", json={"version": 1})

    assert xor.get(f"/api/v1/models/xor/versions/{reference}").json["version"] == number


def test_files_have_the_listed_size_and_digest(xor: FlaskClient) -> None:
    for file in xor.get("/api/v1/models/xor/versions/1").json["files"]:
        answer = xor.get(file["href"])

        assert (len(answer.data), hashlib.sha256(answer.data).hexdigest()) == (file["size"], file["sha256"])
        assert answer.get_etag() == (file["sha256"], False)
        assert file["name"] in answer.headers["Content-Disposition"]


def test_the_network_is_rebuilt_from_version_json(xor: FlaskClient) -> None:
    import keras

    description = json.loads(xor.get("/api/v1/models/xor/versions/1/files/version.json").data)

    network = keras.models.model_from_json(json.dumps(description["architecture"]))

    assert network.count_params() == description["parameters"] == 17
    assert len(description["golden_samples"]) == 4


def test_an_alias_is_set_moved_and_deleted(xor: FlaskClient) -> None:
    first = xor.put("/api/v1/models/xor/aliases/production", json={"version": 1})
    second = xor.put("/api/v1/models/xor/aliases/production", json={"version": 2})

    assert (first.status_code, second.status_code) == (200, 200)
    assert second.json == {"model": "xor", "alias": "production", "version": 2}
    assert xor.get("/api/v1/models/xor").json["aliases"] == {"production": 2}
    assert xor.get("/api/v1/models/xor/versions/2").json["aliases"] == ["production"]
    assert xor.delete("/api/v1/models/xor/aliases/production").status_code == 204
    assert xor.delete("/api/v1/models/xor/aliases/production").json["type"] == "/problems/alias-not-found"


@pytest.mark.parametrize(
    ("alias", "body", "status"),
    [
        ("production", {"version": 3}, 404),
        ("production", {"version": 0}, 422),
        ("production", {"version": "1"}, 422),
        ("production", {"version": 99999999999999}, 404),
        ("production", {}, 422),
        ("production", {"version": 1, "zork": 1}, 422),
        ("latest", {"version": 1}, 422),
        ("7", {"version": 1}, 422),
        ("Production", {"version": 1}, 422),
    ],
)
def test_an_invalid_alias_or_version_is_refused(xor: FlaskClient, alias: str, body: object, status: int) -> None:
    assert xor.put(f"/api/v1/models/xor/aliases/{alias}", json=body).status_code == status


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("nope", "model-not-found"),
        ("nope/versions", "model-not-found"),
        ("nope/versions/latest", "model-not-found"),
        ("xor/versions/3", "version-not-found"),
        ("xor/versions/999999999999999999999", "version-not-found"),
        ("xor/versions/²", "version-not-found"),
        ("xor/versions/1/files/model.pkl", "file-not-found"),
        ("xor/versions/1/files/..%2F..%2Fpasswd", None),
    ],
)
def test_an_unknown_model_version_or_file_is_not_found(xor: FlaskClient, path: str, kind: str | None) -> None:
    answer = xor.get(f"/api/v1/models/{path}")

    assert answer.status_code == 404
    assert answer.json["type"] == (f"/problems/{kind}" if kind else "about:blank")


@pytest.mark.parametrize("address", ["/api/v1/models/%00", "/api/v1/jobs?tag=%00", "/api/v1/models/xor/versions/%00"])
def test_a_nul_byte_in_a_url_is_refused(http: FlaskClient, address: str) -> None:
    assert http.get(address).status_code == 422


def publish_empty(sessions: Sessions, name: str) -> None:
    """Publish a version without metrics and without files."""
    with sessions.begin() as session:
        submission.create_job(session, TrainingSpec.model_validate(changed(XOR, "model", name)))
        job = lifecycle.claim(session, "worker-1", [Device.AUTO], 60)
        assert job is not None
        metrics: Json = {"train": {}, "validation": None, "test": None}
        publishing.publish(session, job.id, job.attempt, name, {"metrics": metrics}, [])


def test_the_served_version_of_each_model_is_listed(http: FlaskClient, sessions: Sessions) -> None:
    for name in "aabbccdde":
        publish_empty(sessions, name)
    http.put("/api/v1/models/b/aliases/production", json={"version": 1})
    http.put("/api/v1/models/c/aliases/candidate", json={"version": 1})
    http.delete("/api/v1/models/d/versions/2")
    http.delete("/api/v1/models/e/versions/1")

    with sessions() as session:
        served = versions.list_served_versions(session, 100)
        first = versions.list_served_versions(session, 2)

    assert [(version.model, version.number) for version in served] == [("a", 2), ("b", 1), ("c", 2), ("d", 1)]
    assert [version.model for version in first] == ["a", "b"]


def test_models_are_listed_page_by_page(http: FlaskClient, sessions: Sessions) -> None:
    for name in ("b", "c", "a"):
        publish_empty(sessions, name)

    first = http.get("/api/v1/models?limit=2").json
    second = http.get(f"/api/v1/models?limit=2&cursor={first['next']}").json

    assert [model["name"] for model in first["models"] + second["models"]] == ["a", "b", "c"]


def test_the_number_of_a_deleted_version_is_not_used_again(
    xor: FlaskClient, worker: InProcessWorker, sessions: Sessions, published: Callable[[Json], PublishedVersion]
) -> None:
    address = "/api/v1/models/xor"
    xor.post(f"{address}/predictions", json={"instances": [[0, 1]]})

    answer = xor.delete(f"{address}/versions/2")

    assert (answer.status_code, answer.data) == (204, b"")
    assert xor.delete(f"{address}/versions/2").status_code == 404
    assert xor.get(f"{address}/versions/2").status_code == 404
    assert xor.post(f"{address}/predictions", json={"instances": [[0, 1]]}).json["version"] == 1
    assert xor.get(address).json["latest"] == 1
    tracked_files.collect_garbage(sessions, worker.context.artifacts, -1)
    assert xor.get(f"{address}/versions/1/self-test").json["passed"]
    assert published(XOR).publish(sessions, worker.context.artifacts) == 3


def test_a_version_with_an_alias_cannot_be_deleted(xor: FlaskClient) -> None:
    xor.put("/api/v1/models/xor/aliases/production", json={"version": 1})

    answer = xor.delete("/api/v1/models/xor/versions/1")

    assert_problem(answer, 409, "version-in-use")
    assert "production" in answer.json["detail"]
    assert len(xor.get("/api/v1/models/xor/versions/1").json["files"]) > 3


@pytest.mark.parametrize("reference", ["latest", "production"])
def test_a_version_is_deleted_only_by_its_number(xor: FlaskClient, reference: str) -> None:
    assert xor.delete(f"/api/v1/models/xor/versions/{reference}").status_code == 422
    assert xor.get("/api/v1/models/xor").json["versions"] == 2


def test_a_model_without_versions_is_not_found(
    xor: FlaskClient, worker: InProcessWorker, sessions: Sessions, published: Callable[[Json], PublishedVersion]
) -> None:
    for number in (1, 2):
        xor.delete(f"/api/v1/models/xor/versions/{number}")

    assert xor.get("/api/v1/models").json["models"] == []
    for answer in (
        xor.get("/api/v1/models/xor"),
        xor.post("/api/v1/models/xor/predictions", json={"instances": [[0, 1]]}),
    ):
        assert_problem(answer, 404, "model-not-found")
    published(XOR).publish(sessions, worker.context.artifacts)
    assert xor.get("/api/v1/models/xor").json["latest"] == 3


def test_the_reproduction_of_a_deleted_version_fails(xor: FlaskClient, worker: InProcessWorker) -> None:
    job = json.loads(xor.post("/api/v1/models/xor/versions/2/reproduction").data)
    xor.delete("/api/v1/models/xor/versions/2")

    worker.run_all()

    ended = xor.get(f"/api/v1/jobs/{job['id']}").json
    assert (ended["status"], ended["error"]["type"]) == ("failed", "/problems/version-unusable")


def test_a_model_is_described_and_tells_its_main_metric(xor: FlaskClient) -> None:
    assert xor.patch("/api/v1/models/xor", json={"description": "Exclusive or."}).json["description"] == "Exclusive or."
    xor.put("/api/v1/models/xor/aliases/production", json={"version": 1})

    (model,) = xor.get("/api/v1/models").json["models"]

    trained = xor.get("/api/v1/models/xor/versions/1").json["metrics"]["train"]
    assert (model["description"], model["served"]) == ("Exclusive or.", 1)
    assert model["headline"]["part"] == "train"
    assert model["headline"]["value"] == trained[model["headline"]["name"]]
    assert_problem(xor.patch("/api/v1/models/nope", json={"description": ""}), 404, "model-not-found")
    assert xor.patch("/api/v1/models/xor", json={"description": "a" * 10_001}).status_code == 422
