"""`python -m local.demo`: starts Trainyard, trains the digits recipe, shows it five images, and ends all it started."""

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import cv2
import httpx
import numpy as np

from local.stack import ROOT, CannotStart, check_port
from shared import datasets
from shared.processes import end_with_parent
from shared.settings import Settings
from shared.training_spec import TrainingSpec

RECIPE = ROOT / "recipes" / "digits-cnn.yaml"
IMAGES = 5
SECONDS_TO_START = 120.0
SECONDS_TO_END = 60.0
SECONDS_BETWEEN_LOOKS = 0.25
BAR_WIDTH = 24
ENDED = ("succeeded", "failed", "cancelled")


class DemoFailed(Exception):
    """What went wrong, and where to read more."""


def run(settings: Settings) -> None:
    """Raises DemoFailed or CannotStart."""
    check_port(settings.host, settings.port)
    log_dir = settings.data_dir / "logs"
    log_dir.mkdir(parents=True, exist_ok=True)
    _say(f"Starting Redis, API, worker and scheduler; their logs are in {log_dir}.")
    with _stack(log_dir) as stack, httpx.Client(base_url=f"http://{settings.host}:{settings.port}", timeout=30) as http:
        _await_readiness(http, stack, log_dir)
        job = _submit(http)
        job = _watch(http, job)
        _predict(http, job, settings)
        _say("Ending what was started.")
    _say(f"Done. The data stay in {settings.data_dir}: `make run` starts the same stack and leaves it running.")


@contextlib.contextmanager
def _stack(log_dir: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (log_dir / "stack.log").open("wb") as log:
        stack = subprocess.Popen(
            [sys.executable, "-m", "local.stack", "--log-dir", str(log_dir)],
            cwd=ROOT,
            stdout=log,
            stderr=log,
            preexec_fn=lambda: end_with_parent(signal.SIGTERM),  # noqa: PLW1509 - there is a single thread
        )
    try:
        yield stack
    finally:
        stack.terminate()
        code = stack.wait(SECONDS_TO_END)
    if code != 0:
        raise DemoFailed(f"The stack ended with {code}: {log_dir / 'stack.log'} says why.")


def _await_readiness(http: httpx.Client, stack: subprocess.Popen[bytes], log_dir: Path) -> None:
    give_up_at = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < give_up_at and stack.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if http.get("/health/ready").is_success:
                return
        time.sleep(SECONDS_BETWEEN_LOOKS)
    last_words = (log_dir / "stack.log").read_text().strip().splitlines()[-1:]
    raise DemoFailed(f"Trainyard did not start; {log_dir} says why. {' '.join(last_words)}")


def _submit(http: httpx.Client) -> dict[str, Any]:
    answer = http.post("/api/v1/jobs", content=RECIPE.read_bytes(), headers={"Content-Type": "application/yaml"})
    job = _body(answer)
    _say(f"Posted {RECIPE.relative_to(ROOT)}: job {job['id']}, {job['status']}.")
    return job


def _watch(http: httpx.Client, job: dict[str, Any]) -> dict[str, Any]:
    shown = ""
    while job["status"] not in ENDED:
        time.sleep(SECONDS_BETWEEN_LOOKS)
        job = _body(http.get(f"/api/v1/jobs/{job['id']}"))
        if job["progress"] is not None and (line := _progress_line(job["progress"])) != shown:
            shown = line
            print(f"\r{line}" if sys.stdout.isatty() else line, end="" if sys.stdout.isatty() else "\n", flush=True)
    if sys.stdout.isatty():
        print()
    if job["status"] != "succeeded":
        raise DemoFailed(f"The job is {job['status']}: {job['error']['detail'] if job['error'] else 'nobody says why'}")
    version = _body(http.get(f"/api/v1/models/{job['model']}/versions/{job['version']}"))
    _say(f"Published {job['model']}/{job['version']}: test accuracy {version['metrics']['test']['accuracy']:.4f}.")
    return job


def _progress_line(progress: dict[str, Any]) -> str:
    filled = round(BAR_WIDTH * progress["percent"] / 100)
    metrics = progress["metrics"]
    seconds_left = "?" if progress["seconds_left"] is None else f"{progress['seconds_left']:.1f}"
    return (
        f"[{'█' * filled}{'·' * (BAR_WIDTH - filled)}] epoch {progress['epoch']:>2}/{progress['epochs']}  "
        f"loss {metrics['loss']:.4f}  accuracy {metrics['accuracy']:.4f}  {seconds_left:>5} s left"
    )


def _predict(http: httpx.Client, job: dict[str, Any], settings: Settings) -> None:
    """Five digits that it was not trained on, as files, in one request."""
    spec = TrainingSpec.model_validate(job["spec"])
    test = datasets.load(spec.dataset, spec.training.seed, settings.datasets_dir).test
    rows = np.linspace(0, len(test) - 1, IMAGES).astype(int)
    folder = settings.data_dir / "demo"
    folder.mkdir(exist_ok=True)
    paths = [folder / f"digit-{row}.png" for row in rows]
    for path, row in zip(paths, rows, strict=True):
        cv2.imwrite(str(path), test.x[row])
    files = [("images", (path.name, path.read_bytes(), "image/png")) for path in paths]
    answers = _body(http.post(f"/api/v1/models/{job['model']}/predictions", files=files))["predictions"]
    _say(f"Posted {IMAGES} test images from {folder}:")
    for path, row, answer in zip(paths, rows, answers, strict=True):
        answered = f"{answer['label']} with probability {answer['probability']:.4f}"
        _say(f"  {path.name:<14} is a {test.y[row]}; answered {answered}")


def _body(answer: httpx.Response) -> dict[str, Any]:
    body: dict[str, Any] = answer.json()
    if not answer.is_success:
        raise DemoFailed(
            f"{answer.request.method} {answer.request.url.path} answered {answer.status_code}: {body['detail']}"
        )
    return body


def _say(line: str) -> None:
    print(line, flush=True)


def _end_in_order(*_: object) -> NoReturn:
    sys.exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _end_in_order)
    try:
        run(Settings())
    except (CannotStart, DemoFailed) as reason:
        sys.exit(f"trainyard: {reason}")
