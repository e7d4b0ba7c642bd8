"""A stack of one's own for a while, and an HTTP client to it: what the demonstration and the recipes talk to."""

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from local.stack import ROOT, check_port
from shared.settings import Settings
from shared.system import end_with_parent

START_TIMEOUT_SECONDS = 120.0
END_TIMEOUT_SECONDS = 60.0
POLL_SECONDS = 0.25
ENDED = ("succeeded", "failed", "cancelled")


class StackFailed(Exception):
    """What went wrong, and where to read more."""


@contextlib.contextmanager
def run_stack(settings: Settings) -> Iterator[httpx.Client]:
    """Everything it starts ends with it. Raises StackFailed or CannotStart."""
    check_port(settings.host, settings.port)
    log_dir = settings.data_dir / "logs"
    log_dir.mkdir(parents=True, exist_ok=True)
    print(f"Starting Redis, API, worker and scheduler; their logs are in {log_dir}.", flush=True)
    with (
        _start_stack(log_dir) as stack,
        httpx.Client(base_url=f"http://{settings.host}:{settings.port}", timeout=30) as http,
    ):
        _await_readiness(http, stack, log_dir)
        yield http
        print("Ending what was started.", flush=True)


def submit_recipe(http: httpx.Client, path: Path) -> dict[str, Any]:
    """The job's document. Raises StackFailed."""
    headers = {"Content-Type": "application/yaml"}
    return read_body(http.post("/api/v1/jobs", content=path.read_bytes(), headers=headers))


def follow_job(http: httpx.Client, job: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Its documents, a few each second, to the one that says how it ended."""
    while job["status"] not in ENDED:
        time.sleep(POLL_SECONDS)
        job = read_body(http.get(f"/api/v1/jobs/{job['id']}"))
        yield job


def get_version(http: httpx.Client, job: dict[str, Any]) -> dict[str, Any]:
    """What an ended job published. Raises StackFailed where it published nothing."""
    if job["status"] != "succeeded":
        raise StackFailed(
            f"The job is {job['status']}: {job['error']['detail'] if job['error'] else 'nobody says why'}"
        )
    return read_body(http.get(f"/api/v1/models/{job['model']}/versions/{job['version']}"))


def read_body(answer: httpx.Response) -> dict[str, Any]:
    """Raises StackFailed for a problem."""
    body: dict[str, Any] = answer.json()
    if not answer.is_success:
        raise StackFailed(
            f"{answer.request.method} {answer.request.url.path} answered {answer.status_code}: {body['detail']}"
        )
    return body


@contextlib.contextmanager
def _start_stack(log_dir: Path) -> Iterator[subprocess.Popen[bytes]]:
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
        code = stack.wait(END_TIMEOUT_SECONDS)
    if code != 0:
        raise StackFailed(f"The stack ended with {code}: {log_dir / 'stack.log'} says why.")


def _await_readiness(http: httpx.Client, stack: subprocess.Popen[bytes], log_dir: Path) -> None:
    give_up_at = time.monotonic() + START_TIMEOUT_SECONDS
    while time.monotonic() < give_up_at and stack.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if http.get("/health/ready").is_success:
                return
        time.sleep(POLL_SECONDS)
    last_words = (log_dir / "stack.log").read_text().strip().splitlines()[-1:]
    raise StackFailed(f"Trainyard did not start; {log_dir} says why. {' '.join(last_words)}")
