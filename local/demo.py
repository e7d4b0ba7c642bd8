"""Run a demo: start Trainyard, train the digits recipe, classify five images, and stop Trainyard.

Usage: `python -m local.demo`.
"""

import signal
import sys
from typing import Any, NoReturn

import cv2
import httpx
import numpy as np

from local.client import StackFailed, follow_job, get_version, read_body, run_stack, submit_recipe
from local.stack import ROOT, CannotStart
from shared.datasets import splits
from shared.settings import Settings
from shared.spec.training import TrainingSpec

RECIPE = ROOT / "recipes" / "digits-cnn.yaml"
IMAGES = 5
BAR_WIDTH = 24


def run(settings: Settings) -> None:
    """Run the demo. Raises StackFailed or CannotStart."""
    with run_stack(settings) as http:
        job = submit_recipe(http, RECIPE)
        _print_line(f"Posted {RECIPE.relative_to(ROOT)}: job {job['id']}, {job['status']}.")
        page = f"{http.base_url.join('/ui/jobs/')}{job['id']}"
        _print_line(f"Its page is {page}.")
        job = _watch(http, job)
        _predict(http, job, settings)
    _print_line(
        f"Done. The data are in {settings.data_dir}. `make run` starts the same stack until Ctrl-C, with that page."
    )


def _watch(http: httpx.Client, job: dict[str, Any]) -> dict[str, Any]:
    """Print the progress of the job until it ends. Returns its last document. Raises StackFailed if it failed."""
    shown = ""
    for latest in follow_job(http, job):
        job = latest
        if job["progress"] is not None and (line := _progress_line(job["progress"])) != shown:
            shown = line
            print(f"\r{line}" if sys.stdout.isatty() else line, end="" if sys.stdout.isatty() else "\n", flush=True)
    if sys.stdout.isatty():
        print()
    version = get_version(http, job)
    _print_line(
        f"Published {job['model']}/{job['version']}: test accuracy {version['metrics']['test']['accuracy']:.4f}."
    )
    return job


def _progress_line(progress: dict[str, Any]) -> str:
    """Format the progress of a job as a line with a bar."""
    filled = round(BAR_WIDTH * progress["percent"] / 100)
    metrics = progress["metrics"]
    seconds_left = "?" if progress["seconds_left"] is None else f"{progress['seconds_left']:.1f}"
    return (
        f"[{'█' * filled}{'·' * (BAR_WIDTH - filled)}] epoch {progress['epoch']:>2}/{progress['epochs']}  "
        f"loss {metrics['loss']:.4f}  accuracy {metrics['accuracy']:.4f}  {seconds_left:>5} s left"
    )


def _predict(http: httpx.Client, job: dict[str, Any], settings: Settings) -> None:
    """Classify five digits of the test part with one request, and print the results."""
    spec = TrainingSpec.model_validate(job["spec"])
    test = splits.load_dataset(spec.dataset, spec.training.seed, settings.datasets_dir).test
    rows = np.linspace(0, len(test) - 1, IMAGES).astype(int)
    folder = settings.data_dir / "demo"
    folder.mkdir(exist_ok=True)
    paths = [folder / f"digit-{row}.png" for row in rows]
    for path, row in zip(paths, rows, strict=True):
        cv2.imwrite(str(path), test.array[row])
    files = [("images", (path.name, path.read_bytes(), "image/png")) for path in paths]
    answers = read_body(http.post(f"/api/v1/models/{job['model']}/predictions", files=files))["predictions"]
    _print_line(f"Posted {IMAGES} test images from {folder}:")
    for path, row, answer in zip(paths, rows, answers, strict=True):
        answered = f"{answer['label']} with probability {answer['probability']:.4f}"
        _print_line(f"  {path.name:<14} is a {test.y[row]}; predicted {answered}")


def _print_line(line: str) -> None:
    print(line, flush=True)


def end_in_order(*_: object) -> NoReturn:
    """Exit on SIGTERM through SystemExit, so that `with` blocks stop the stack."""
    sys.exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, end_in_order)
    try:
        run(Settings())
    except (CannotStart, StackFailed) as reason:
        sys.exit(f"trainyard: {reason}")
