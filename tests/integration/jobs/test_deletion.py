"""Test the deletion of jobs and of data sets, and what refuses it."""

import io
from pathlib import Path
from uuid import UUID

import pytest
from flask.testing import FlaskClient
from sqlalchemy import func, select

from shared.database.engine import Sessions
from shared.database.tables.base import Base
from shared.database.tables.jobs import Job
from shared.devices import Device
from shared.jobs import lifecycle
from shared.jobs.deletion import OWN_TABLES
from shared.settings import Settings
from tests.support.examples import DIGITS, XOR, Json, changed
from tests.support.jobs import interrupt_after, show_job, submit, train
from tests.support.problems import assert_problem
from tests.support.uploads import TABLE, colors, upload_dataset, zipped
from tests.support.worker import InProcessWorker

SHAPES: Json = {
    "model": "shapes",
    "dataset": {"name": "shapes"},
    "network": {"layers": [{"layer": "Dense", "units": 2, "activation": "softmax"}]},
    "training": {"epochs": 1},
}


def count_files(settings: Settings) -> int:
    folder = Path(settings.artifacts_url.removeprefix("file://"))
    return sum(path.is_file() for path in folder.rglob("*"))


def cancel(http: FlaskClient, job_id: str) -> None:
    assert http.post(f"/api/v1/jobs/{job_id}/cancellation").status_code == 200


def test_an_ended_job_is_deleted_with_all_that_belongs_to_it(
    http: FlaskClient, worker: InProcessWorker, sessions: Sessions, settings: Settings
) -> None:
    job_id = submit(http, changed(changed(DIGITS, "training.epochs", 20_000), "tags", {"course": "1"}))
    interrupt_after(worker, 20).run_next()
    cancel(http, job_id)
    assert count_files(settings) == 1  # the checkpoint

    assert http.delete(f"/api/v1/jobs/{job_id}").status_code == 204

    assert_problem(http.get(f"/api/v1/jobs/{job_id}"), 404, "job-not-found")
    assert_problem(http.delete(f"/api/v1/jobs/{job_id}"), 404, "job-not-found")
    assert count_files(settings) == 0
    with sessions() as session:
        assert [session.scalar(select(func.count()).select_from(table)) for table in OWN_TABLES] == [0] * len(
            OWN_TABLES
        )


def test_every_table_of_a_job_is_deleted_with_it() -> None:
    referring = {
        table for table in Base.metadata.sorted_tables for key in table.foreign_keys if key.column.table.name == "jobs"
    }

    assert {table.name for table in referring} == {table.__tablename__ for table in OWN_TABLES} | {"jobs", "versions"}


def test_a_job_that_has_not_ended_is_not_deleted(http: FlaskClient, sessions: Sessions) -> None:
    job_id = submit(http, XOR)
    assert_problem(http.delete(f"/api/v1/jobs/{job_id}"), 409, "job-in-use")
    with sessions.begin() as session:
        lifecycle.claim(session, "worker-1", [Device.AUTO], 60)

    problem = assert_problem(http.delete(f"/api/v1/jobs/{job_id}"), 409, "job-in-use")

    assert "is running" in problem["detail"]
    assert show_job(http, job_id)["status"] == "running"


def test_a_job_is_deleted_after_its_version(http: FlaskClient, worker: InProcessWorker) -> None:
    job = train(http, worker, XOR)

    problem = assert_problem(http.delete(f"/api/v1/jobs/{job['id']}"), 409, "job-in-use")

    assert "version 1 of 'xor'" in problem["detail"]
    assert http.delete("/api/v1/models/xor/versions/1").status_code == 204
    assert http.delete(f"/api/v1/jobs/{job['id']}").status_code == 204


def test_a_retry_stays_when_its_job_is_deleted(http: FlaskClient) -> None:
    job_id = submit(http, XOR)
    cancel(http, job_id)
    retry = http.post(f"/api/v1/jobs/{job_id}/retry").json

    assert http.delete(f"/api/v1/jobs/{job_id}").status_code == 204

    assert show_job(http, retry["id"])["retry_of"] is None
    assert_problem(http.post(f"/api/v1/jobs/{job_id}/retry"), 404, "job-not-found")


def test_a_batch_prediction_is_deleted_with_its_inputs_and_results(
    http: FlaskClient, worker: InProcessWorker, settings: Settings
) -> None:
    train(http, worker, XOR)
    before = count_files(settings)
    table = {"file": (io.BytesIO(b"0,1\n1,1\n1,0\n"), "inputs.csv")}
    job_id = http.post("/api/v1/models/xor/batch-predictions", data=table).json["id"]
    worker.run_all()
    assert show_job(http, job_id)["status"] == "succeeded"
    assert count_files(settings) == before + 2

    assert http.delete(f"/api/v1/jobs/{job_id}").status_code == 204

    assert count_files(settings) == before


def test_a_data_set_is_deleted_with_its_files(http: FlaskClient, settings: Settings) -> None:
    upload_dataset(http, zipped(colors(2)))
    upload_dataset(http, zipped(colors(3)))

    assert http.delete("/api/v1/datasets/colors@1").status_code == 204
    assert [found["revision"] for found in http.get("/api/v1/datasets/colors").json["revisions"]] == [2]
    assert http.delete("/api/v1/datasets/colors").status_code == 204

    assert count_files(settings) == 0
    assert all(found["builtin"] for found in http.get("/api/v1/datasets").json["datasets"])
    assert_problem(http.get("/api/v1/datasets/colors"), 404, "dataset-not-found")
    assert_problem(http.delete("/api/v1/datasets/colors@2"), 404, "dataset-not-found")
    assert upload_dataset(http, zipped(colors(2))).json["reference"] == "colors@3"


def test_files_that_another_data_set_shares_stay(http: FlaskClient, settings: Settings) -> None:
    upload_dataset(http, TABLE.encode(), "shapes")
    upload_dataset(http, TABLE.encode(), "forms")
    before = count_files(settings)

    assert http.delete("/api/v1/datasets/forms").status_code == 204

    assert count_files(settings) == before


@pytest.mark.parametrize("reference", ["shapes", "shapes@1"])
def test_data_that_a_job_reads_are_not_deleted(http: FlaskClient, reference: str) -> None:
    upload_dataset(http, TABLE.encode(), "shapes")
    job_id = submit(http, SHAPES)

    problem = assert_problem(http.delete(f"/api/v1/datasets/{reference}?versions=keep"), 409, "dataset-in-use")

    assert job_id in problem["detail"]
    cancel(http, job_id)
    assert http.delete(f"/api/v1/datasets/{reference}").status_code == 204
    assert_problem(http.post(f"/api/v1/jobs/{job_id}/retry"), 404, "dataset-not-found")


def test_data_of_a_version_are_deleted_only_on_request(http: FlaskClient, worker: InProcessWorker) -> None:
    upload_dataset(http, TABLE.encode(), "shapes")
    train(http, worker, SHAPES)

    problem = assert_problem(http.delete("/api/v1/datasets/shapes"), 409, "dataset-in-use")

    assert "shapes/1" in problem["detail"]
    assert "versions=keep" in problem["detail"]
    assert http.delete("/api/v1/datasets/shapes?versions=keep").status_code == 204
    predicted = http.post("/api/v1/models/shapes/predictions", json={"instances": [[6, 0]]})
    assert predicted.status_code == 200
    assert_problem(http.post("/api/v1/models/shapes/versions/1/reproduction"), 404, "dataset-not-found")


LARGE: Json = changed(
    XOR, "dataset.inline", {"x": [[row / 7, -row / 3] for row in range(3000)], "y": [row % 2 for row in range(3000)]}
)


def test_large_inline_data_are_stored_once_in_a_file(
    http: FlaskClient, worker: InProcessWorker, settings: Settings
) -> None:
    first, second = submit(http, LARGE), submit(http, changed(LARGE, "model", "again"))

    shown = show_job(http, first)["spec"]["dataset"]["inline"]
    assert shown == show_job(http, second)["spec"]["dataset"]["inline"]
    assert set(shown) == {"sha256"}
    assert count_files(settings) == 1
    assert http.get(f"/api/v1/jobs/{first}/inline-data").json == LARGE["dataset"]["inline"]
    worker.run_all()
    trained = show_job(http, first)
    assert trained["status"] == "succeeded", trained["error"]
    assert http.get("/api/v1/models/xor/versions/1").json["lineage"]["spec"]["dataset"]["inline"] == shown
    assert http.get("/api/v1/models/xor/versions/1/decision-surface.svg").status_code == 200


def test_a_shown_spec_with_stored_data_can_be_sent_again(http: FlaskClient, worker: InProcessWorker) -> None:
    job = train(http, worker, LARGE)
    spec = {**job["spec"], "reuse": True}

    again = http.post("/api/v1/jobs", json=spec)

    assert (again.status_code, again.json["id"]) == (200, job["id"])  # the same training
    reproduced = http.post("/api/v1/models/xor/versions/1/reproduction").json
    worker.run_all()
    assert show_job(http, reproduced["id"])["reproduction"]["data_equal"]


def test_stored_data_stay_while_a_job_has_them(http: FlaskClient, settings: Settings) -> None:
    job_id = submit(http, LARGE)
    cancel(http, job_id)
    retry = http.post(f"/api/v1/jobs/{job_id}/retry").json
    cancel(http, retry["id"])

    http.delete(f"/api/v1/jobs/{job_id}")
    assert count_files(settings) == 1
    http.delete(f"/api/v1/jobs/{retry['id']}")
    assert count_files(settings) == 0


def test_data_of_no_job_are_refused(http: FlaskClient) -> None:
    answer = http.post("/api/v1/jobs", json=changed(XOR, "dataset.inline", {"sha256": "0" * 64}))

    problem = assert_problem(answer, 422, "invalid-request")
    assert problem["errors"][0]["pointer"] == "#/dataset/inline/sha256"


def test_small_inline_data_stay_in_the_spec(http: FlaskClient, sessions: Sessions) -> None:
    job_id = submit(http, XOR)

    assert show_job(http, job_id)["spec"]["dataset"]["inline"] == XOR["dataset"]["inline"]
    assert_problem(http.get(f"/api/v1/jobs/{job_id}/inline-data"), 404, "file-not-found")
    with sessions() as session:
        assert session.get_one(Job, UUID(job_id)).inline_file is None
