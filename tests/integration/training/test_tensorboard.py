"""Test that TensorBoard can read the logs of a job."""

import io
import zipfile
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.support.examples import DIGITS, changed
from tests.support.jobs import train
from tests.support.problems import assert_problem
from tests.support.worker import InProcessWorker


def read_logs(http: FlaskClient, job_id: str, folder: Path) -> dict[str, EventAccumulator]:
    """Download the logs of a job and load them with TensorBoard. Returns part (`train`, `validation`) → events."""
    answer = http.get(f"/api/v1/jobs/{job_id}/tensorboard")
    assert (answer.status_code, answer.mimetype) == (200, "application/zip")
    with zipfile.ZipFile(io.BytesIO(answer.data)) as archive:
        archive.extractall(folder)
    return {part: EventAccumulator(str(folder / part)).Reload() for part in ("train", "validation")}


def test_scalars_histograms_images_and_the_graph_are_logged(
    http: FlaskClient, worker: InProcessWorker, tmp_path: Path
) -> None:
    spec = changed(DIGITS, "training.tensorboard", {"histograms": 1, "images": True, "graph": True})

    job = train(http, worker, spec)

    parts = read_logs(http, job["id"], tmp_path / "logs")
    tags = parts["train"].Tags()
    assert {"epoch_accuracy", "epoch_loss"} <= set(tags["tensors"])
    assert {"dense/kernel", "dense/bias"} <= {tag.removesuffix("/histogram") for tag in tags["tensors"]}
    assert any(tag.endswith("/image") for tag in tags["tensors"]), tags
    assert tags["graph"]
    assert len(parts["validation"].Tensors("epoch_loss")) == 2


def test_tensorboard_true_logs_every_epoch(http: FlaskClient, worker: InProcessWorker, tmp_path: Path) -> None:
    job = train(http, worker, changed(DIGITS, "training.tensorboard", value=True))

    assert len(read_logs(http, job["id"], tmp_path / "logs")["train"].Tensors("epoch_loss")) == 2


@pytest.mark.parametrize("ended", [True, False], ids=["ended", "queued"])
def test_the_logs_of_a_job_without_tensorboard_are_not_found(
    http: FlaskClient, worker: InProcessWorker, ended: object
) -> None:
    job_id = http.post("/api/v1/jobs", json=DIGITS).json["id"]
    if ended:
        worker.run_all()

    answer = http.get(f"/api/v1/jobs/{job_id}/tensorboard")

    assert_problem(answer, 404, "file-not-found")
