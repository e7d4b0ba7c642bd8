"""Run a stack for a limited time, and send requests to its API. The demo and the recipes use this module."""

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
"""The final statuses of a job."""


class StackFailed(Exception):
    """The stack or a request to it failed. The message contains the reason, or the path of the logs."""


@contextlib.contextmanager
def run_stack(settings: Settings) -> Iterator[httpx.Client]:
    """Start a stack, yield an HTTP client for its API, and stop the stack at the end of the `with` block.

    Raises StackFailed or CannotStart.
    """
    check_port(settings.host, settings.port)
    log_dir = settings.data_dir / "logs"
    log_dir.mkdir(parents=True, exist_ok=True)
    print(f"Starting Redis, API, worker and scheduler; their logs are in {log_dir}.", flush=True)
    with (
        _start_stack(log_dir) as stack,
        httpx.Client(base_url=f"http://{settings.host}:{settings.port}", timeout=120) as http,
    ):
        _await_readiness(http, stack, log_dir)
        yield http
        print("Stopping Redis, API, worker and scheduler.", flush=True)


def submit_recipe(http: httpx.Client, path: Path) -> dict[str, Any]:
    """Submit a recipe. Returns the document of its job. Raises StackFailed."""
    headers = {"Content-Type": "application/yaml"}
    return read_body(http.post("/api/v1/jobs", content=path.read_bytes(), headers=headers))


def follow_job(http: httpx.Client, job: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the document of the job every POLL_SECONDS. The last one has a final status. Raises StackFailed."""
    while job["status"] not in ENDED:
        time.sleep(POLL_SECONDS)
        job = read_body(http.get(f"/api/v1/jobs/{job['id']}"))
        yield job


def get_version(http: httpx.Client, job: dict[str, Any]) -> dict[str, Any]:
    """Return the document of the version that an ended job has published. Raises StackFailed if it has none."""
    if job["status"] != "succeeded":
        raise StackFailed(
            f"The status of the job is {job['status']}: {job['error']['detail'] if job['error'] else 'no error'}"
        )
    return read_body(http.get(f"/api/v1/models/{job['model']}/versions/{job['version']}"))


def read_body(answer: httpx.Response) -> dict[str, Any]:
    """Return the JSON body of a response. Raises StackFailed if the response is a problem."""
    body: dict[str, Any] = answer.json()
    if not answer.is_success:
        raise StackFailed(
            f"{answer.request.method} {answer.request.url.path} returned {answer.status_code}: {body['detail']}"
        )
    return body


@contextlib.contextmanager
def _start_stack(log_dir: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start `local.stack`, and stop it at the end of the `with` block. Raises StackFailed if it exits with an error."""
    with (log_dir / "stack.log").open("wb") as log:
        stack = subprocess.Popen(
            [sys.executable, "-m", "local.stack", "--log-dir", str(log_dir)],
            cwd=ROOT,
            stdout=log,
            stderr=log,
            preexec_fn=lambda: end_with_parent(signal.SIGTERM),  # noqa: PLW1509 - this process has one thread
        )
    try:
        yield stack
    finally:
        stack.terminate()
        code = stack.wait(END_TIMEOUT_SECONDS)
    if code != 0:
        raise StackFailed(f"The stack ended with exit status {code}. The reason is in {log_dir / 'stack.log'}.")


def _await_readiness(http: httpx.Client, stack: subprocess.Popen[bytes], log_dir: Path) -> None:
    """Wait until the API is ready. Raises StackFailed after START_TIMEOUT_SECONDS, or when the stack has ended."""
    give_up_at = time.monotonic() + START_TIMEOUT_SECONDS
    while time.monotonic() < give_up_at and stack.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if http.get("/health/ready").is_success:
                return
        time.sleep(POLL_SECONDS)
    last_words = (log_dir / "stack.log").read_text().strip().splitlines()[-1:]
    raise StackFailed(f"Trainyard did not start. The logs are in {log_dir}. {' '.join(last_words)}")
