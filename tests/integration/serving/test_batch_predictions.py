"""Test batch predictions: jobs that predict many inputs."""

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
from tests.support.jobs import show_job
from tests.support.problems import assert_problem
from tests.support.uploads import npz, zipped
from tests.support.worker import RETRY_POLICY, InProcessWorker
from worker.maintenance.retention import DAY_SECONDS, Retention, clean_up
from worker.prediction import job as prediction_job

ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
DIGITS_ADDRESS = "/api/v1/models/digits/batch-predictions"
IRIS_ADDRESS = "/api/v1/models/iris/batch-predictions"
FLOWERS = [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3], [5.9, 3.0, 4.2, 1.5]]
"""Three rows for the model `iris`."""


@pytest.fixture
def images() -> np.ndarray:
    """Provide images of digits, (n, 8, 8, 1) uint8, that the network was not trained on."""
    test: np.ndarray = splits.load_dataset(DatasetSpec(name="digits"), 0, Path()).test.array
    return test


def submit_file(http: FlaskClient, address: str, content: bytes, **fields: str) -> Json:
    """Upload a file of inputs, and return the queued job."""
    answer = http.post(address, data={"file": (io.BytesIO(content), "inputs"), **fields})
    assert answer.status_code == 202, answer.text
    assert answer.headers["Location"] == f"/api/v1/jobs/{answer.json['id']}"
    job: Json = json.loads(answer.data)
    return job


def read_predictions(http: FlaskClient, job: Json) -> list[Json]:
    """Download the predictions so far, one document for each input."""
    answer = http.get(f"/api/v1/jobs/{job['id']}/predictions.jsonl")
    assert (answer.status_code, answer.content_type) == (200, "application/jsonl")
    return [json.loads(line) for line in answer.text.splitlines()]


def read_csv(http: FlaskClient, job: Json) -> list[dict[str, str]]:
    """Download the predictions as CSV."""
    answer = http.get(f"/api/v1/jobs/{job['id']}/predictions.csv")
    assert (answer.status_code, answer.content_type) == (200, "text/csv; charset=utf-8")
    return list(csv.DictReader(io.StringIO(answer.text)))


def get_refusal(http: FlaskClient, address: str, content: bytes) -> str:
    """Upload a file that must be refused, and return the detail of the problem."""
    answer = http.post(address, data={"file": (io.BytesIO(content), "inputs")})
    assert_problem(answer, 422, "dataset-refused")
    detail: str = answer.json["detail"]
    return detail


def predict_one(http: FlaskClient, model: str, instance: Any) -> Json:
    """Predict one input without a job."""
    predictions = http.post(f"/api/v1/models/{model}/predictions", json={"instances": [instance]}).json["predictions"]
    first: Json = predictions[0]
    return first


def test_images_of_a_zip_are_predicted_in_order_with_their_problems(
    digits: FlaskClient, worker: InProcessWorker, images: np.ndarray
) -> None:
    pngs = [encoded(image) for image in images[:300]]
    members: dict[str | zipfile.ZipInfo, bytes] = {f"{(7 * row) % 300:03d}/a.png": png for row, png in enumerate(pngs)}
    members |= {"broken.png": pngs[0][:50], "__MACOSX/._a.png": b"no image", "empty.png": b""}

    job = submit_file(digits, DIGITS_ADDRESS, zipped(members), top="3")
    assert (job["kind"], job["status"], job["batch"]["rows"]) == ("prediction", "queued", 302)
    worker.run_all()

    done = show_job(digits, job["id"])
    assert (done["status"], done["version"]) == ("succeeded", None)
    assert done["batch"] == {"version": 1, "rows": 302, "done": 302, "failed": 2}
    assert done["progress"]["percent"] == 100
    lines = read_predictions(digits, job)
    assert [line["row"] for line in lines] == list(range(302))
    assert [line["name"] for line in lines] == [name for name in members if "MACOSX" not in str(name)]
    for row in (0, 150, 299):
        alone = predict_one(digits, "digits", images[row].tolist())
        assert lines[row]["label"] == alone["label"]
        assert lines[row]["probability"] == pytest.approx(alone["probability"], abs=1e-5)
        assert len(lines[row]["top"]) == 3
    assert [line["problem"]["type"] for line in lines[300:]] == ["/problems/invalid-image"] * 2
    assert "broken.png" in lines[300]["problem"]["detail"]
    table = read_csv(digits, job)
    assert [row["label"] for row in table[:300]] == [line["label"] for line in lines[:300]]
    assert table[300]["label"] == ""
    assert "broken.png" in table[300]["problem"]
    marked = digits.get(done["links"]["predictions"].replace(".jsonl", ".csv?bom=1")).data
    assert marked[:7] == b"\xef\xbb\xbfrow,"


@ON_SQLITE
def test_an_array_of_images_is_predicted(digits: FlaskClient, worker: InProcessWorker, images: np.ndarray) -> None:
    job = submit_file(digits, DIGITS_ADDRESS, npz(x=images[:5, ..., 0], y=np.zeros(5)))
    worker.run_all()

    labels = [line["label"] for line in read_predictions(digits, job)]
    assert labels == [predict_one(digits, "digits", image.tolist())["label"] for image in images[:5]]


@ON_SQLITE
def test_rows_of_a_csv_and_of_an_array_are_predicted(iris: FlaskClient, worker: InProcessWorker) -> None:
    lines = ["a,b,c,d", *(",".join(map(str, flower)) for flower in FLOWERS), "1,2,?,4", "1,2,3,four", "1,2,3"]
    table = submit_file(iris, IRIS_ADDRESS, "\n".join(lines).encode())
    array = submit_file(iris, IRIS_ADDRESS, npz(x=np.array([*FLOWERS, [1, 2, np.nan, 4]])))
    worker.run_all()

    expected = [predict_one(iris, "iris", flower)["label"] for flower in FLOWERS]
    from_table, from_array = read_predictions(iris, table), read_predictions(iris, array)
    assert [line["label"] for line in from_table[:3]] == [line["label"] for line in from_array[:3]] == expected
    problems = [line["problem"]["detail"] for line in from_table[3:]]
    assert "Line 5, column 'c': a value is missing." in problems[0]
    assert "Line 6, column 'd': 'four' is not a number." in problems[1]
    assert "Line 7 has 3 cells; the first row has 4." in problems[2]
    assert "finite" in from_array[3]["problem"]["detail"]
    assert read_csv(iris, table)[0]["name"] == ""


@ON_SQLITE
def test_an_uploaded_data_set_is_predicted(iris: FlaskClient, worker: InProcessWorker) -> None:
    text = "a,b,c,d,kind\n" + "".join(f"{','.join(map(str, flower))},x\n5,4,1,1,y\n" for flower in FLOWERS)
    iris.post("/api/v1/datasets", data={"name": "flowers", "file": (io.BytesIO(text.encode()), "flowers.csv")})

    answer = iris.post(IRIS_ADDRESS, json={"dataset": "flowers", "version": "latest", "tags": {"a": "b"}})
    worker.run_all()

    assert answer.status_code == 202
    assert (answer.json["spec"]["dataset"], answer.json["tags"]) == ("flowers@1", {"a": "b"})
    labels = [line["label"] for line in read_predictions(iris, json.loads(answer.data))]
    assert labels[::2] == [predict_one(iris, "iris", flower)["label"] for flower in FLOWERS]
    refused = iris.post(IRIS_ADDRESS, json={"dataset": "nobody"})
    assert_problem(refused, 404, "dataset-not-found")


@ON_SQLITE
def test_inputs_that_do_not_fit_the_version_are_refused(digits: FlaskClient, iris: FlaskClient) -> None:
    assert "takes images" in get_refusal(digits, DIGITS_ADDRESS, b"1,2\n3,4\n")
    assert "uint8" in get_refusal(digits, DIGITS_ADDRESS, npz(x=np.zeros((3, 8, 8))))
    assert "no file" in get_refusal(digits, DIGITS_ADDRESS, zipped({"__MACOSX/a.png": b"x"}))
    assert "zip cannot be read" in get_refusal(digits, DIGITS_ADDRESS, zipped({"a.png": b"x"})[:40])
    assert "PNG image" in get_refusal(digits, DIGITS_ADDRESS, encoded(np.zeros((8, 8), np.uint8)))
    assert "out of the folder" in get_refusal(digits, DIGITS_ADDRESS, zipped({"../a.png": b"x"}))
    assert "empty" in get_refusal(digits, DIGITS_ADDRESS, b"")
    assert "5 cells" in get_refusal(iris, IRIS_ADDRESS, b"1,2,3,4,5\n1,2,3,4,5\n")
    assert "float64 (3, 5)" in get_refusal(iris, IRIS_ADDRESS, npz(x=np.zeros((3, 5))))
    assert "no array 'x'" in get_refusal(iris, IRIS_ADDRESS, npz(a=np.zeros((3, 4)), b=np.zeros(3)))
    assert "[4] numbers" in get_refusal(iris, IRIS_ADDRESS, zipped({"a.png": b"x"}))
    both = iris.post(IRIS_ADDRESS, data={"file": (io.BytesIO(b"1,2,3,4\n"), "a.csv"), "dataset": "flowers"})
    assert (both.status_code, both.json["errors"][0]["pointer"]) == (422, "#/dataset")
    builtin = iris.post(IRIS_ADDRESS, json={"dataset": "iris"})
    assert ("#/dataset", "built-in" in builtin.text) == (builtin.json["errors"][0]["pointer"], True)
    neither = iris.post(IRIS_ADDRESS, json={})
    assert (neither.status_code, neither.json["errors"][0]["pointer"]) == (422, "#/dataset")
    nothing = iris.post(IRIS_ADDRESS, data={"top": "1"}, content_type="multipart/form-data")
    assert_problem(nothing, 400, "malformed-request")


def test_the_same_idempotency_key_returns_the_same_job(iris: FlaskClient) -> None:
    def post(content: bytes) -> Any:
        form = {"file": (io.BytesIO(content), "a.csv")}
        return iris.post(IRIS_ADDRESS, data=form, headers={"Idempotency-Key": "k"})

    first, again, other = post(b"1,2,3,4\n1,2,3,4\n"), post(b"1,2,3,4\n1,2,3,4\n"), post(b"1,2,3,4\n4,3,2,1\n")

    assert first.json["id"] == again.json["id"]
    assert_problem(other, 422, "idempotency-key-reused")


def add_part_of_another_worker(sessions: Sessions, settings: Settings, tmp_path: Path, lines: list[Json]) -> UUID:
    """Claim the next job as another worker and store a part of its predictions. Returns the id of the job."""
    with sessions.begin() as session:
        job = lifecycle.claim(session, "worker-2", [Device.AUTO], 60)
        assert job is not None
    path = tmp_path / "part.jsonl"
    path.write_bytes(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    (file,) = tracked_files.store(sessions, ArtifactStore(settings.artifacts_url), [path])
    with sessions.begin() as session:
        batch_predictions.add_part(session, job.id, job.attempt, file.sha256, rows=len(lines), failed=0)
    return job.id


def test_the_attempt_after_a_lost_one_keeps_the_stored_predictions(
    iris: FlaskClient, worker: InProcessWorker, sessions: Sessions, settings: Settings, tmp_path: Path
) -> None:
    job = submit_file(iris, IRIS_ADDRESS, npz(x=np.array(FLOWERS)))
    add_part_of_another_worker(sessions, settings, tmp_path, [{"row": 0, "name": None, "label": "written by another"}])
    assert [line["label"] for line in read_predictions(iris, job)] == ["written by another"]
    with sessions.begin() as session:
        lifecycle.rescue_from_worker(session, "worker-2", RETRY_POLICY)

    worker.run_all()

    lines = read_predictions(iris, job)
    assert [line["row"] for line in lines] == [0, 1, 2]
    assert lines[0]["label"] == "written by another"
    assert lines[1]["label"] == predict_one(iris, "iris", FLOWERS[1])["label"]
    assert show_job(iris, job["id"])["batch"]["done"] == 3


@ON_SQLITE
@pytest.mark.parametrize(("path", "kept"), [("retry", True), ("retry?from=start", False)])
def test_a_retry_continues_or_starts_again(
    iris: FlaskClient,
    worker: InProcessWorker,
    sessions: Sessions,
    settings: Settings,
    tmp_path: Path,
    path: str,
    kept: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    job = submit_file(iris, IRIS_ADDRESS, npz(x=np.array(FLOWERS)))
    job_id = add_part_of_another_worker(
        sessions, settings, tmp_path, [{"row": 0, "name": None, "label": "written by another"}]
    )
    with sessions.begin() as session:
        lifecycle.fail(session, job_id, 1, InternalError("It failed."))

    again = json.loads(iris.post(f"/api/v1/jobs/{job['id']}/{path}").data)
    assert (again["kind"], again["batch"]["done"]) == ("prediction", int(kept))
    worker.run_all()

    lines = read_predictions(iris, again)
    assert [line["row"] for line in lines] == [0, 1, 2]
    assert (lines[0]["label"] == "written by another") == kept
    assert show_job(iris, again["id"])["status"] == "succeeded"


@ON_SQLITE
def test_a_job_whose_inputs_have_expired_cannot_be_retried(iris: FlaskClient, sessions: Sessions) -> None:
    job = submit_file(iris, IRIS_ADDRESS, npz(x=np.array(FLOWERS)))
    iris.post(f"/api/v1/jobs/{job['id']}/cancellation")
    with sessions.begin() as session:
        batch_predictions.delete_expired_files(session, -1)

    answer = iris.post(f"/api/v1/jobs/{job['id']}/retry")

    assert_problem(answer, 409, "job-cannot-be-retried")


@ON_SQLITE
def test_predictions_made_before_a_cancellation_are_kept(
    iris: FlaskClient, worker: InProcessWorker, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submit_file(iris, IRIS_ADDRESS, npz(x=np.array(FLOWERS * 1000)))
    monkeypatch.setattr(prediction_job, "MAX_ROWS_PER_RUN", 1)
    calls = itertools.count()

    def preprocess_slowly(*arguments: Any) -> Any:
        if next(calls) == 5:
            iris.post(f"/api/v1/jobs/{job['id']}/cancellation")
        time.sleep(0.01)
        return preprocess_inputs(*arguments)

    monkeypatch.setattr(prediction_job, "preprocess_inputs", preprocess_slowly)
    worker.run_all()

    ended = show_job(iris, job["id"])
    assert (ended["status"], 5 <= ended["batch"]["done"] < 3000) == ("cancelled", True)
    assert [line["row"] for line in read_predictions(iris, job)] == list(range(ended["batch"]["done"]))
    with sessions.begin() as session:
        batch_predictions.delete_expired_parts(session, -1)
    assert iris.post(f"/api/v1/jobs/{job['id']}/retry").json["batch"]["done"] == 0


@ON_SQLITE
def test_predictions_are_deleted_after_their_retention(
    iris: FlaskClient, worker: InProcessWorker, sessions: Sessions
) -> None:
    content = "a,b,c,d,kind\n" + "1,2,3,4,x\n4,3,2,1,y\n" * 20
    iris.post("/api/v1/datasets", data={"name": "flowers", "file": (io.BytesIO(content.encode()), "a.csv")})
    job = json.loads(iris.post(IRIS_ADDRESS, json={"dataset": "flowers"}).data)
    worker.run_all()
    retention = Retention(checkpoint_days=0, event_days=0, prediction_days=90, sweep_seconds=-1)
    clean_up(sessions, worker.context.artifacts, retention)
    assert len(read_predictions(iris, job)) == 40
    with sessions.begin() as session:
        session.execute(update(Job).values(ended_at=now(-91 * DAY_SECONDS)))

    clean_up(sessions, worker.context.artifacts, retention)

    gone = iris.get(f"/api/v1/jobs/{job['id']}/predictions.jsonl")
    assert (gone.status_code, "have expired" in gone.json["detail"]) == (404, True)


@ON_SQLITE
def test_the_files_of_a_batch_are_not_deleted(iris: FlaskClient, worker: InProcessWorker, sessions: Sessions) -> None:
    job = submit_file(iris, IRIS_ADDRESS, npz(x=np.array(FLOWERS)))

    tracked_files.collect_garbage(sessions, worker.context.artifacts, -1)
    worker.run_all()
    tracked_files.collect_garbage(sessions, worker.context.artifacts, -1)

    assert len(read_predictions(iris, job)) == 3


@ON_SQLITE
def test_a_training_has_no_predictions_and_a_batch_no_curves(iris: FlaskClient) -> None:
    training = iris.get("/api/v1/jobs").json["jobs"][0]
    assert training["kind"] == "training"

    answer = iris.get(f"/api/v1/jobs/{training['id']}/predictions.csv")

    assert_problem(answer, 404, "file-not-found")
    job = submit_file(iris, IRIS_ADDRESS, npz(x=np.array(FLOWERS)))
    assert iris.get(f"/api/v1/jobs/{job['id']}/curves.svg").status_code == 404
    assert read_csv(iris, job) == []


@ON_SQLITE
def test_a_version_with_a_missing_file_fails_the_job(
    iris: FlaskClient, worker: InProcessWorker, tmp_path: Path
) -> None:
    job = submit_file(iris, IRIS_ADDRESS, npz(x=np.array(FLOWERS)))
    files = iris.get("/api/v1/models/iris/versions/1").json["files"]
    sha256 = next(file["sha256"] for file in files if file["name"] == "model.onnx")
    (tmp_path / "artifacts" / sha256[:2] / sha256).unlink()

    worker.run_all()

    ended = show_job(iris, job["id"])
    assert (ended["status"], ended["error"]["type"]) == ("failed", "/problems/version-unusable")
