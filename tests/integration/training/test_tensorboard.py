"""Test that TensorBoard can read the logs of a job."""

import io
import zipfile
from pathlib import Path

import pytest
import tensorflow as tf
from flask.testing import FlaskClient
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.support.examples import DENSE_SOFTMAX, DIGITS, changed
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


def test_gradients_vanish_in_a_deep_network_of_sigmoids(
    http: FlaskClient, worker: InProcessWorker, tmp_path: Path
) -> None:
    """The lesson of the exercise xor-deep: the first layer of many sigmoids learns almost nothing."""
    hidden = [
        {"layer": "Dense", "units": 8, "activation": "sigmoid", "name": f"hidden_{number}"} for number in range(8)
    ]
    layers = [{"layer": "Flatten"}, *hidden, DENSE_SOFTMAX]
    spec = changed(changed(DIGITS, "network.layers", layers), "training.tensorboard", {"gradients": True})

    job = train(http, worker, spec)

    events = read_logs(http, job["id"], tmp_path / "logs")["train"]
    tags = [tag for tag in events.Tags()["tensors"] if tag.startswith("gradients/")]
    assert len(tags) == 18, tags

    def measure(layer: str) -> list[float]:
        """Return the largest absolute gradient of a kernel after each epoch."""
        histograms = [tf.make_ndarray(event.tensor_proto) for event in events.Tensors(f"gradients/{layer}/kernel")]
        return [max(abs(rows[0, 0]), abs(rows[-1, 1])) for rows in histograms]

    assert len(measure("hidden_0")) == 2
    assert all(0 < first < last / 100 for first, last in zip(measure("hidden_0"), measure("hidden_7"), strict=True))


def test_gradients_leave_the_training_as_it_is(http: FlaskClient, worker: InProcessWorker) -> None:
    plain = changed(DIGITS, "training.deterministic", value=True)
    logged = changed(plain, "training.tensorboard", {"gradients": True, "graph": False})

    jobs = [train(http, worker, spec) for spec in (plain, logged)]

    first, second = (http.get(f"/api/v1/jobs/{job['id']}").json["metrics"] for job in jobs)
    assert first == second


def test_gradients_without_histograms_are_refused(http: FlaskClient) -> None:
    answer = http.post(
        "/api/v1/jobs", json=changed(DIGITS, "training.tensorboard", {"gradients": True, "histograms": 0})
    )

    assert_problem(answer, 422, "invalid-request")


@pytest.mark.parametrize("ended", [True, False], ids=["ended", "queued"])
def test_the_logs_of_a_job_without_tensorboard_are_not_found(
    http: FlaskClient, worker: InProcessWorker, ended: object
) -> None:
    job_id = http.post("/api/v1/jobs", json=DIGITS).json["id"]
    if ended:
        worker.run_all()

    answer = http.get(f"/api/v1/jobs/{job_id}/tensorboard")

    assert_problem(answer, 404, "file-not-found")
