"""Predictions for many inputs, by a job."""

import csv
import io
import itertools
import json
import time
import zipfile
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from flask.testing import FlaskClient
from sqlalchemy import update

from shared.database.engine import Sessions
from shared.database.tables.base import now
from shared.database.tables.jobs import Job
from shared.datasets import splits
from shared.devices import Device
from shared.errors import InternalError
from shared.inference.inputs import preprocess_inputs
from shared.jobs import batch_predictions, lifecycle
from shared.settings import Settings
from shared.spec.dataset import DatasetSpec
from shared.storage import tracked_files
from shared.storage.artifacts import ArtifactStore
from tests.support.examples import Json
from tests.support.images import encoded
from tests.support.problems import assert_problem
from tests.support.uploads import npz, zipped
from tests.support.worker import RETRY_POLICY, InProcessWorker
from worker.maintenance.retention import DAY_SECONDS, Retention, clean_up
from worker.prediction import job as prediction_job

ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
DIGITS_ADDRESS = "/api/v1/models/digits/batch-predictions"
IRIS_ADDRESS = "/api/v1/models/iris/batch-predictions"
FLOWERS = [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3], [5.9, 3.0, 4.2, 1.5]]


@pytest.fixture
def written() -> np.ndarray:
    """(n, 8, 8, 1), digits the network was not trained on."""
    test: np.ndarray = splits.load_dataset(DatasetSpec(name="digits"), 0, Path()).test.array
    return test


def send(http: FlaskClient, address: str, content: bytes, **fields: str) -> Json:
    answer = http.post(address, data={"file": (io.BytesIO(content), "inputs"), **fields})
    assert answer.status_code == 202, answer.text
    assert answer.headers["Location"] == f"/api/v1/jobs/{answer.json['id']}"
    job: Json = json.loads(answer.data)
    return job


def show(http: FlaskClient, job: Json) -> Json:
    document: Json = json.loads(http.get(f"/api/v1/jobs/{job['id']}").data)
    return document


def answers(http: FlaskClient, job: Json) -> list[Json]:
    answer = http.get(f"/api/v1/jobs/{job['id']}/predictions.jsonl")
    assert (answer.status_code, answer.content_type) == (200, "application/jsonl")
    return [json.loads(line) for line in answer.text.splitlines()]


def rows_of_csv(http: FlaskClient, job: Json) -> list[dict[str, str]]:
    answer = http.get(f"/api/v1/jobs/{job['id']}/predictions.csv")
    assert (answer.status_code, answer.content_type) == (200, "text/csv; charset=utf-8")
    return list(csv.DictReader(io.StringIO(answer.text)))


def refusal(http: FlaskClient, address: str, content: bytes) -> str:
    answer = http.post(address, data={"file": (io.BytesIO(content), "inputs")})
    assert_problem(answer, 422, "dataset-refused")
    detail: str = answer.json["detail"]
    return detail


def single(http: FlaskClient, model: str, instance: Any) -> Json:
    predictions = http.post(f"/api/v1/models/{model}/predictions", json={"instances": [instance]}).json["predictions"]
    first: Json = predictions[0]
    return first


def test_images_of_a_zip_are_answered_in_its_order_and_a_bad_one_says_so(
    digits: FlaskClient, worker: InProcessWorker, written: np.ndarray
) -> None:
    pngs = [encoded(image) for image in written[:300]]
    members: dict[str | zipfile.ZipInfo, bytes] = {f"{(7 * row) % 300:03d}/a.png": png for row, png in enumerate(pngs)}
    members |= {"broken.png": pngs[0][:50], "__MACOSX/._a.png": b"no image", "empty.png": b""}

    job = send(digits, DIGITS_ADDRESS, zipped(members), top="3")
    assert (job["kind"], job["status"], job["batch"]["rows"]) == ("prediction", "queued", 302)
    worker.run_all()

    done = show(digits, job)
    assert (done["status"], done["version"]) == ("succeeded", None)
    assert done["batch"] == {"version": 1, "rows": 302, "done": 302, "failed": 2}
    assert done["progress"]["percent"] == 100
    lines = answers(digits, job)
    assert [line["row"] for line in lines] == list(range(302))
    assert [line["name"] for line in lines] == [name for name in members if "MACOSX" not in str(name)]
    for row in (0, 150, 299):
        alone = single(digits, "digits", written[row].tolist())
        assert lines[row]["label"] == alone["label"]
        assert lines[row]["probability"] == pytest.approx(alone["probability"], abs=1e-5)
        assert len(lines[row]["top"]) == 3
    assert [line["problem"]["type"] for line in lines[300:]] == ["/problems/invalid-image"] * 2
    assert "broken.png" in lines[300]["problem"]["detail"]
    table = rows_of_csv(digits, job)
    assert [row["label"] for row in table[:300]] == [line["label"] for line in lines[:300]]
    assert table[300]["label"] == ""
    assert "broken.png" in table[300]["problem"]


@ON_SQLITE
def test_arrays_of_images_and_of_numbers(digits: FlaskClient, worker: InProcessWorker, written: np.ndarray) -> None:
    job = send(digits, DIGITS_ADDRESS, npz(x=written[:5, ..., 0], y=np.zeros(5)))
    worker.run_all()

    labels = [line["label"] for line in answers(digits, job)]
    assert labels == [single(digits, "digits", image.tolist())["label"] for image in written[:5]]


@ON_SQLITE
def test_rows_of_a_csv_and_of_an_array(iris: FlaskClient, worker: InProcessWorker) -> None:
    lines = ["a,b,c,d", *(",".join(map(str, flower)) for flower in FLOWERS), "1,2,?,4", "1,2,3,four", "1,2,3"]
    table = send(iris, IRIS_ADDRESS, "\n".join(lines).encode())
    array = send(iris, IRIS_ADDRESS, npz(x=np.array([*FLOWERS, [1, 2, np.nan, 4]])))
    worker.run_all()

    expected = [single(iris, "iris", flower)["label"] for flower in FLOWERS]
    of_table, of_array = answers(iris, table), answers(iris, array)
    assert [line["label"] for line in of_table[:3]] == [line["label"] for line in of_array[:3]] == expected
    problems = [line["problem"]["detail"] for line in of_table[3:]]
    assert "Line 5, column 'c': a value is missing." in problems[0]
    assert "Line 6, column 'd': 'four' is not a number." in problems[1]
    assert "Line 7 has 3 cells, where 4 are in the first." in problems[2]
    assert "finite" in of_array[3]["problem"]["detail"]
    assert rows_of_csv(iris, table)[0]["name"] == ""


@ON_SQLITE
def test_a_data_set_that_was_uploaded_before(iris: FlaskClient, worker: InProcessWorker) -> None:
    text = "a,b,c,d,kind\n" + "".join(f"{','.join(map(str, flower))},x\n5,4,1,1,y\n" for flower in FLOWERS)
    iris.post("/api/v1/datasets", data={"name": "flowers", "file": (io.BytesIO(text.encode()), "flowers.csv")})

    answer = iris.post(IRIS_ADDRESS, json={"dataset": "flowers", "version": "latest", "tags": {"a": "b"}})
    worker.run_all()

    assert answer.status_code == 202
    assert (answer.json["spec"]["dataset"], answer.json["tags"]) == ("flowers@1", {"a": "b"})
    labels = [line["label"] for line in answers(iris, json.loads(answer.data))]
    assert labels[::2] == [single(iris, "iris", flower)["label"] for flower in FLOWERS]
    refused = iris.post(IRIS_ADDRESS, json={"dataset": "nobody"})
    assert_problem(refused, 404, "dataset-not-found")


@ON_SQLITE
def test_what_does_not_fit_the_version_is_refused_at_once(digits: FlaskClient, iris: FlaskClient) -> None:
    assert "takes images" in refusal(digits, DIGITS_ADDRESS, b"1,2\n3,4\n")
    assert "uint8" in refusal(digits, DIGITS_ADDRESS, npz(x=np.zeros((3, 8, 8))))
    assert "no file" in refusal(digits, DIGITS_ADDRESS, zipped({"__MACOSX/a.png": b"x"}))
    assert "zip cannot be read" in refusal(digits, DIGITS_ADDRESS, zipped({"a.png": b"x"})[:40])
    assert "PNG image" in refusal(digits, DIGITS_ADDRESS, encoded(np.zeros((8, 8), np.uint8)))
    assert "out of the folder" in refusal(digits, DIGITS_ADDRESS, zipped({"../a.png": b"x"}))
    assert "empty" in refusal(digits, DIGITS_ADDRESS, b"")
    assert "5 cells" in refusal(iris, IRIS_ADDRESS, b"1,2,3,4,5\n1,2,3,4,5\n")
    assert "float64 (3, 5)" in refusal(iris, IRIS_ADDRESS, npz(x=np.zeros((3, 5))))
    assert "no array 'x'" in refusal(iris, IRIS_ADDRESS, npz(a=np.zeros((3, 4)), b=np.zeros(3)))
    assert "[4] numbers" in refusal(iris, IRIS_ADDRESS, zipped({"a.png": b"x"}))
    both = iris.post(IRIS_ADDRESS, data={"file": (io.BytesIO(b"1,2,3,4\n"), "a.csv"), "dataset": "flowers"})
    assert (both.status_code, both.json["errors"][0]["pointer"]) == (422, "#/dataset")
    neither = iris.post(IRIS_ADDRESS, json={})
    assert (neither.status_code, neither.json["errors"][0]["pointer"]) == (422, "#/dataset")
    nothing = iris.post(IRIS_ADDRESS, data={"top": "1"}, content_type="multipart/form-data")
    assert_problem(nothing, 400, "malformed-request")


def test_the_same_key_answers_the_same_job(iris: FlaskClient) -> None:
    def post(content: bytes) -> Any:
        form = {"file": (io.BytesIO(content), "a.csv")}
        return iris.post(IRIS_ADDRESS, data=form, headers={"Idempotency-Key": "k"})

    first, again, other = post(b"1,2,3,4\n1,2,3,4\n"), post(b"1,2,3,4\n1,2,3,4\n"), post(b"1,2,3,4\n4,3,2,1\n")

    assert first.json["id"] == again.json["id"]
    assert_problem(other, 422, "idempotency-key-reused")


def part_by_another(sessions: Sessions, settings: Settings, tmp_path: Path, lines: list[Json]) -> UUID:
    """What an attempt wrote that holds the job."""
    with sessions.begin() as session:
        job = lifecycle.claim(session, "worker-2", [Device.AUTO], 60)
        assert job is not None
    path = tmp_path / "part.jsonl"
    path.write_bytes(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    (file,) = tracked_files.store(sessions, ArtifactStore(settings.artifacts_url), [path])
    with sessions.begin() as session:
        batch_predictions.add_part(session, job.id, job.attempt, file.sha256, rows=len(lines), failed=0)
    return job.id


def test_a_lost_attempt_is_gone_on_with_where_it_was(
    iris: FlaskClient, worker: InProcessWorker, sessions: Sessions, settings: Settings, tmp_path: Path
) -> None:
    job = send(iris, IRIS_ADDRESS, npz(x=np.array(FLOWERS)))
    part_by_another(sessions, settings, tmp_path, [{"row": 0, "name": None, "label": "written by another"}])
    assert [line["label"] for line in answers(iris, job)] == ["written by another"]
    with sessions.begin() as session:
        lifecycle.rescue_from_worker(session, "worker-2", RETRY_POLICY)

    worker.run_all()

    lines = answers(iris, job)
    assert [line["row"] for line in lines] == [0, 1, 2]
    assert lines[0]["label"] == "written by another"
    assert lines[1]["label"] == single(iris, "iris", FLOWERS[1])["label"]
    assert show(iris, job)["batch"]["done"] == 3


@ON_SQLITE
@pytest.mark.parametrize(("address", "kept"), [("retry", True), ("retry?from=start", False)])
def test_what_failed_is_tried_again_from_where_it_was_or_from_the_start(
    iris: FlaskClient,
    worker: InProcessWorker,
    sessions: Sessions,
    settings: Settings,
    tmp_path: Path,
    address: str,
    kept: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    job = send(iris, IRIS_ADDRESS, npz(x=np.array(FLOWERS)))
    job_id = part_by_another(sessions, settings, tmp_path, [{"row": 0, "name": None, "label": "written by another"}])
    with sessions.begin() as session:
        lifecycle.fail(session, job_id, 1, InternalError("It was not to be."))

    again = json.loads(iris.post(f"/api/v1/jobs/{job['id']}/{address}").data)
    assert (again["kind"], again["batch"]["done"]) == ("prediction", int(kept))
    worker.run_all()

    lines = answers(iris, again)
    assert [line["row"] for line in lines] == [0, 1, 2]
    assert (lines[0]["label"] == "written by another") == kept
    assert show(iris, again)["status"] == "succeeded"


@ON_SQLITE
def test_what_has_had_its_time_cannot_be_tried_again(iris: FlaskClient, sessions: Sessions) -> None:
    job = send(iris, IRIS_ADDRESS, npz(x=np.array(FLOWERS)))
    iris.post(f"/api/v1/jobs/{job['id']}/cancellation")
    with sessions.begin() as session:
        batch_predictions.delete_expired_files(session, -1)

    answer = iris.post(f"/api/v1/jobs/{job['id']}/retry")

    assert_problem(answer, 409, "job-cannot-be-retried")


@ON_SQLITE
def test_what_was_answered_before_a_cancellation_is_there(
    iris: FlaskClient, worker: InProcessWorker, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = send(iris, IRIS_ADDRESS, npz(x=np.array(FLOWERS * 1000)))
    monkeypatch.setattr(prediction_job, "MAX_ROWS_PER_RUN", 1)
    calls = itertools.count()

    def slow_rows_of(*arguments: Any) -> Any:
        if next(calls) == 5:
            iris.post(f"/api/v1/jobs/{job['id']}/cancellation")
        time.sleep(0.01)
        return preprocess_inputs(*arguments)

    monkeypatch.setattr(prediction_job, "preprocess_inputs", slow_rows_of)
    worker.run_all()

    ended = show(iris, job)
    assert (ended["status"], 5 <= ended["batch"]["done"] < 3000) == ("cancelled", True)
    assert [line["row"] for line in answers(iris, job)] == list(range(ended["batch"]["done"]))
    with sessions.begin() as session:
        batch_predictions.delete_expired_parts(session, -1)
    assert iris.post(f"/api/v1/jobs/{job['id']}/retry").json["batch"]["done"] == 0


@ON_SQLITE
def test_answers_have_their_time(iris: FlaskClient, worker: InProcessWorker, sessions: Sessions) -> None:
    content = "a,b,c,d,kind\n" + "1,2,3,4,x\n4,3,2,1,y\n" * 20
    iris.post("/api/v1/datasets", data={"name": "flowers", "file": (io.BytesIO(content.encode()), "a.csv")})
    job = json.loads(iris.post(IRIS_ADDRESS, json={"dataset": "flowers"}).data)
    worker.run_all()
    retention = Retention(checkpoint_days=0, event_days=0, prediction_days=90, sweep_seconds=-1)
    clean_up(sessions, worker.context.artifacts, retention)
    assert len(answers(iris, job)) == 40
    with sessions.begin() as session:
        session.execute(update(Job).values(ended_at=now(-91 * DAY_SECONDS)))

    clean_up(sessions, worker.context.artifacts, retention)

    gone = iris.get(f"/api/v1/jobs/{job['id']}/predictions.jsonl")
    assert (gone.status_code, "had its time" in gone.json["detail"]) == (404, True)


@ON_SQLITE
def test_files_that_a_batch_names_are_not_swept(iris: FlaskClient, worker: InProcessWorker, sessions: Sessions) -> None:
    job = send(iris, IRIS_ADDRESS, npz(x=np.array(FLOWERS)))

    tracked_files.collect_garbage(sessions, worker.context.artifacts, -1)
    worker.run_all()
    tracked_files.collect_garbage(sessions, worker.context.artifacts, -1)

    assert len(answers(iris, job)) == 3


@ON_SQLITE
def test_a_training_has_no_predictions_and_a_batch_no_curves(iris: FlaskClient) -> None:
    training = iris.get("/api/v1/jobs").json["jobs"][0]
    assert training["kind"] == "training"

    answer = iris.get(f"/api/v1/jobs/{training['id']}/predictions.csv")

    assert_problem(answer, 404, "file-not-found")
    job = send(iris, IRIS_ADDRESS, npz(x=np.array(FLOWERS)))
    assert iris.get(f"/api/v1/jobs/{job['id']}/curves.svg").status_code == 404
    assert rows_of_csv(iris, job) == []


@ON_SQLITE
def test_a_version_that_cannot_be_read_fails_the_job_with_its_name(
    iris: FlaskClient, worker: InProcessWorker, tmp_path: Path
) -> None:
    job = send(iris, IRIS_ADDRESS, npz(x=np.array(FLOWERS)))
    files = iris.get("/api/v1/models/iris/versions/1").json["files"]
    sha256 = next(file["sha256"] for file in files if file["name"] == "model.onnx")
    (tmp_path / "artifacts" / sha256[:2] / sha256).unlink()

    worker.run_all()

    ended = show(iris, job)
    assert (ended["status"], ended["error"]["type"]) == ("failed", "/problems/version-unusable")
