"""Send plain HTTP requests to Trainyard from the notebooks, and put our figures beside the published ones."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import requests
from IPython.display import Image, Markdown, display

URL = os.environ.get("TRAINYARD_URL", "http://127.0.0.1:8000")
API = f"{URL}/api/v1"
TABLES = Path(os.environ.get("TRAINYARD_COURSE_TABLES", "tables"))
"""The folder with x09.csv, pima-indians-diabetes.csv and ThoraricSurgery.csv; README.md says where they come from."""
PHOTOS = Path(os.environ.get("TRAINYARD_COURSE_PHOTOS", "photos"))
"""A folder with photos of your own."""
IS_SHORT = os.environ.get("TRAINYARD_COURSE_SHORT") == "1"
"""Whether trainings on LARGE data sets are cut to one epoch of SHORT_ROWS rows. Their figures are then not checked."""
LARGE = ("mnist", "fashion_mnist", "cifar10")
SHORT_ROWS = 6_000
POLL_SECONDS = 0.25

is_cut = False
"""Whether the last training was cut."""


def call(method: str, path: str, **options: Any) -> requests.Response:
    """Send a request. Raises RuntimeError with the explanation of the server if it refuses.

    `path` begins behind `/api/v1`, or is a path from an answer of the service.
    """
    answer = requests.request(method, URL + path if path.startswith("/api/") else API + path, timeout=600, **options)
    if not answer.ok:
        raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text}")
    return answer


def get(path: str, **query: Any) -> Any:
    """Return a JSON document."""
    return call("GET", path, params=query).json()


def post(path: str, document: Any) -> Any:
    """Send a JSON document, and return the one that answers."""
    return call("POST", path, json=document).json()


def picture(path: str, **query: Any) -> None:
    """Show a picture."""
    display(Image(call("GET", path, params=query).content))


def recipe(name: str) -> dict[str, Any]:
    """Return the spec of a recipe that the service brings with it."""
    return dict(get(f"/recipes/{name}")["spec"])


def wait(job: dict[str, Any]) -> dict[str, Any]:
    """Wait for the end of a job, and return it. Raises RuntimeError if it has not succeeded."""
    while job["status"] not in ("succeeded", "failed", "cancelled"):
        time.sleep(POLL_SECONDS)
        job = get(f"/jobs/{job['id']}")
    if job["status"] != "succeeded":
        raise RuntimeError(f"{job['status']}: {job['error']}")
    return job


def train(spec: dict[str, Any]) -> dict[str, Any]:
    """Submit a training spec, wait for the end, and return the job."""
    global is_cut  # noqa: PLW0603
    dataset, options = spec["dataset"], spec["training"]
    is_cut = IS_SHORT and dataset.get("name") in LARGE and options["epochs"] > 0
    if is_cut:
        spec = {**spec, "dataset": {**dataset, "limit": SHORT_ROWS}, "training": {**options, "epochs": 1}}
    return wait(post("/jobs", spec))


def wait_for_folds(first: dict[str, Any]) -> dict[str, Any]:
    """Wait for all jobs of a cross-validation, and return their mean and deviation. `first` is one of them."""
    for fold in get(first["links"]["cross_validation"])["jobs"]:
        wait(get(f"/jobs/{fold['job']}"))
    return dict(get(first["links"]["cross_validation"]))


def predict(model: str, inputs: Sequence[Any], **query: Any) -> list[Any]:
    """Return the predictions of the newest version of a model."""
    return list(
        call("POST", f"/models/{model}/predictions", json={"instances": inputs}, params=query).json()["predictions"]
    )


def get_probabilities(prediction: dict[str, Any]) -> dict[str, float]:
    """Return the probability of each class of a prediction that was asked for with `top`."""
    return {each["label"]: each["probability"] for each in prediction["top"]}


def show_summary(spec: dict[str, Any]) -> dict[str, Any]:
    """Show the layers of a network as `model.summary()` does, without a training. Returns the plan."""
    plan = dict(post("/jobs?dry_run=true", spec))
    rows = [
        f"| {row['name']} ({row['type']}) | {row['output_shape']} | {row['parameters']:,} |" for row in plan["layers"]
    ]
    head = ["| layer | output shape | parameters |", "|---|---|---:|"]
    display(Markdown("\n".join([*head, *rows, f"| **total** | | **{plan['parameters']:,}** |"])))
    return plan


def read_curves(job: dict[str, Any]) -> dict[str, list[float]]:
    """Return the metrics of each epoch by name, as `history.history` of Keras."""
    return dict(get(f"/jobs/{job['id']}/metrics/columns")["metrics"])


def read_weights(model: str, version: int, layer: str) -> list[Any]:
    """Return the arrays of a layer as nested lists, in the order of `get_weights()`."""
    return [array["values"] for array in get(f"/models/{model}/versions/{version}/layers/{layer}/weights")["arrays"]]


def upload(name: str, file: str, **fields: Any) -> dict[str, Any]:
    """Upload a table of TABLES as a data set, and return its document."""
    with (TABLES / file).open("rb") as content:
        return dict(call("POST", "/datasets", data={"name": name, **fields}, files={"file": content}).json())


def compare(exercise: str, what: str, published: Any, ours: Any, within: float | None = None) -> None:
    """Show a published figure and ours.

    Args:
        exercise: the note and the number of the row in README.md, such as `000-1`.
        published: a number, or several; a text if the note shows none.
        within: how far our numbers may be from the published ones, or, for texts, None.

    Raises AssertionError if they are further away. After a training that was cut, only exact figures are checked.
    """
    is_only_shown = within is None or (is_cut and within > 0)
    note = " *(cut)*" if is_cut and within != 0 else ""
    display(Markdown(f"**{exercise}** {what}: {_write(published)} → **{_write(ours)}**{note}"))
    if is_only_shown:
        return
    for expected, found in zip(_flatten(published), _flatten(ours), strict=True):
        assert abs(expected - found) <= within, f"{exercise}: {found} is more than {within} from {expected}"


def _flatten(values: Any) -> list[float]:
    if isinstance(values, (list, tuple)):
        return [number for value in values for number in _flatten(value)]
    return [float(values)]


def _write(values: Any) -> str:
    if isinstance(values, (list, tuple)):
        return ", ".join(map(_write, values))
    return f"{values:.7g}" if isinstance(values, float) else f"{values:,}" if isinstance(values, int) else str(values)
