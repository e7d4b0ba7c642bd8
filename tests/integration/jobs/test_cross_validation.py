"""Test a cross-validation: one job for each fold, their rows, and the mean and deviation of what they measure."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from sklearn.datasets import load_iris
from sklearn.model_selection import KFold, StratifiedKFold
from sqlalchemy import select

from shared.database.engine import Sessions
from shared.database.tables.jobs import Job
from shared.datasets.splits import load_dataset
from shared.errors import TooManyJobs
from shared.jobs import submission
from shared.spec.dataset import DatasetSpec
from shared.spec.training import TrainingSpec
from tests.support.examples import IRIS, Json, changed
from tests.support.problems import assert_problem
from tests.support.worker import InProcessWorker, RecordingNotifier

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
FOLDS: Any = changed(IRIS, "dataset.validation", {"folds": 3})


def submit(http: FlaskClient, spec: Json, **headers: str) -> Json:
    answer: Any = http.post("/api/v1/jobs", json=spec, headers=headers)
    assert answer.status_code == 202, answer.text
    document: Json = answer.json
    return document


def show(http: FlaskClient, job: Json) -> Json:
    answer: Any = http.get(job["links"]["cross_validation"])
    document: Json = answer.json
    return document


def test_each_fold_is_a_job_and_their_mean_and_deviation_are_shown(
    http: FlaskClient, worker: InProcessWorker, notifier: RecordingNotifier
) -> None:
    first = submit(http, {**FOLDS, "tags": {"lesson": "2"}})

    assert len(notifier.notified) == 3
    queued = show(http, first)
    worker.run_all()
    ended = show(http, first)

    assert [fold["status"] for fold in queued["jobs"]] == ["queued"] * 3
    assert (queued["folds"], queued["succeeded"], queued["metrics"]) == (3, 0, {})
    assert [fold["fold"] for fold in ended["jobs"]] == [1, 2, 3]
    assert {fold["status"] for fold in ended["jobs"]} == {"succeeded"}
    accuracies = [fold["metrics"]["validation"]["accuracy"] for fold in ended["jobs"]]
    assert ended["metrics"]["validation"]["accuracy"]["mean"] == pytest.approx(np.mean(accuracies))
    assert ended["metrics"]["validation"]["accuracy"]["deviation"] == pytest.approx(np.std(accuracies))
    jobs: Any = [http.get(f"/api/v1/jobs/{fold['job']}").json for fold in ended["jobs"]]
    assert [job["spec"]["dataset"]["validation"]["fold"] for job in jobs] == [1, 2, 3]
    assert [job["metrics"] for job in jobs] == [fold["metrics"] for fold in ended["jobs"]]
    assert [(job["version"], job["tags"]) for job in jobs] == [(None, {"lesson": "2"})] * 3
    assert_problem(http.get(f"/api/v1/models/{FOLDS['model']}/versions"), 404, "model-not-found")
    assert all(show(http, job) == ended for job in jobs)
    for job in jobs:
        page = http.get(f"/ui/jobs/{job['id']}").text
        assert "Cross-validation in 3 folds" in page
        assert "its version was deleted" not in page.lower()


@on_sqlite
def test_a_failed_fold_is_replaced_by_its_retry(http: FlaskClient, worker: InProcessWorker) -> None:
    first = submit(http, FOLDS)
    second: str = show(http, first)["jobs"][1]["job"]
    http.post(f"/api/v1/jobs/{second}/cancellation")
    worker.run_next()
    alone = show(http, first)
    page = http.get(f"/ui/jobs/{first['id']}").text
    worker.run_all()
    without = show(http, first)

    again: Any = http.post(f"/api/v1/jobs/{second}/retry").json
    worker.run_all()
    ended = show(http, first)

    assert alone["succeeded"] == 1
    assert alone["metrics"]["validation"]["accuracy"]["deviation"] is None
    assert "</strong> ±" not in page
    assert [fold["status"] for fold in without["jobs"]] == ["succeeded", "cancelled", "succeeded"]
    assert without["succeeded"] == 2
    assert [fold["job"] for fold in ended["jobs"]][1] == again["id"]
    assert ended["succeeded"] == 3


@on_sqlite
def test_a_result_is_kept_when_its_job_is_retried_again(http: FlaskClient, worker: InProcessWorker) -> None:
    first = submit(http, FOLDS)
    http.post(f"/api/v1/jobs/{first['id']}/cancellation")
    again: Any = http.post(f"/api/v1/jobs/{first['id']}/retry").json
    worker.run_all()
    before = show(http, first)

    http.post(f"/api/v1/jobs/{first['id']}/retry")
    while_queued = show(http, first)

    assert (before["jobs"][0]["job"], before["succeeded"]) == (again["id"], 3)
    assert while_queued == before


@on_sqlite
@pytest.mark.parametrize("labels", [["rare"] * 2 + ["usual"] * 10, [0] * 2 + [1] * 10])
def test_a_class_of_fewer_rows_than_folds_is_refused(http: FlaskClient, labels: list[Any]) -> None:
    inline = {"x": [[number] for number in range(12)], "y": labels}
    spec = changed(FOLDS, "dataset", {"inline": inline, "validation": {"folds": 3, "stratify": True}})
    spec["network"]["layers"][-1]["units"] = 2

    faults = assert_problem(http.post("/api/v1/jobs?dry_run=true", json=spec), 422, "invalid-request")["errors"]

    assert faults[0]["pointer"] == "#/dataset/validation/folds"
    assert faults[0]["detail"].startswith("The rarest class has 2 rows, and each of 3 folds needs one of them.")


@on_sqlite
def test_folds_beyond_the_queue_limit_are_refused_whole(sessions: Sessions) -> None:
    message = r"has 0 queued jobs and asks for 3 jobs; the limit is 2 .* Lower `folds`"
    with pytest.raises(TooManyJobs, match=message), sessions.begin() as session:
        submission.create_job(session, TrainingSpec.model_validate(FOLDS), max_queued=2)

    with sessions() as session:
        assert session.scalars(select(Job)).all() == []


@on_sqlite
def test_one_fold_alone_is_one_job(http: FlaskClient, worker: InProcessWorker) -> None:
    job = submit(http, changed(FOLDS, "dataset.validation", {"folds": 3, "fold": 2}))
    worker.run_next()

    assert "cross_validation" not in job["links"]
    path = f"/api/v1/jobs/{job['id']}"
    assert [fold["fold"] for fold in http.get(f"{path}/cross-validation").json["jobs"]] == [2]
    assert http.get(path).json["metrics"]["validation"] is not None


@on_sqlite
def test_a_repeated_request_with_its_key_adds_no_jobs(http: FlaskClient) -> None:
    first, second = (submit(http, FOLDS, **{"Idempotency-Key": "folds"}) for _ in range(2))

    assert first["id"] == second["id"]
    assert len(http.get("/api/v1/jobs").json["jobs"]) == 3


@on_sqlite
@pytest.mark.parametrize(
    ("changes", "pointer", "words"),
    [
        ({"dataset.validation": {"folds": 1}}, "#/dataset/validation/folds", "2"),
        ({"dataset.validation": {"folds": 21}}, "#/dataset/validation/folds", "20"),
        ({"dataset.validation": {"folds": 5, "fold": 6}}, "#/dataset/validation", "Leave it out"),
        ({"dataset.validation": {"folds": 5, "fold": "2"}}, "#/dataset/validation/fold", "integer"),
        ({"dataset.validation": {"folds": 5, "stratify": "yes"}}, "#/dataset/validation/stratify", "boolean"),
        ({"dataset.validation": {"folds": 5, "split": 0.2}}, "#/dataset/validation/split", "Unknown key."),
        ({"dataset.validation": {"fold": 2}}, "#/dataset/validation/fold", "Unknown key. Did you mean 'folds'?"),
        ({"dataset.validation": {"dataset": 5}}, "#/dataset/validation/dataset", "string"),
        ({"reuse": True}, "#/reuse", "needs a version"),
        ({"dataset.limit": 4, "dataset.validation": {"folds": 5}}, "#/dataset/validation/folds", "Lower `folds`"),
        ({"baselines": True}, "#/baselines", "needs a version"),
        ({"training.tensorboard": True}, "#/training/tensorboard", "needs a version"),
    ],
)
def test_folds_that_cannot_be_are_refused(http: FlaskClient, changes: Json, pointer: str, words: str) -> None:
    spec = FOLDS
    for key, value in changes.items():
        spec = changed(spec, key, value)
    answer = http.post("/api/v1/jobs", json=spec)

    faults = assert_problem(answer, 422, "invalid-request")["errors"]
    assert any(fault["pointer"] == pointer and words in fault["detail"] for fault in faults), faults


@on_sqlite
def test_a_training_is_no_cross_validation(http: FlaskClient) -> None:
    job = submit(http, IRIS)

    assert_problem(http.get(f"/api/v1/jobs/{job['id']}/cross-validation"), 404, "evaluation-not-found")


@pytest.mark.parametrize(("stratify", "splitter"), [(False, KFold), (True, StratifiedKFold)])
def test_the_rows_of_a_fold_are_those_of_scikit_learn(
    tmp_path: Path,
    stratify: bool,  # noqa: FBT001
    splitter: type[KFold],
) -> None:
    x, y = load_iris(return_X_y=True)
    inline = {"x": x.tolist(), "y": y.tolist()}
    expected = [held_out for _, held_out in splitter(4, shuffle=True, random_state=7).split(x, y)]

    for number, rows in enumerate(expected, start=1):
        validation = {"folds": 4, "fold": number, "stratify": stratify}
        dataset = load_dataset(DatasetSpec.model_validate({"inline": inline, "validation": validation}), 7, tmp_path)
        np.testing.assert_allclose(dataset.validation.array, x[rows], rtol=1e-6)
        assert len(dataset.train) == 150 - len(rows)
