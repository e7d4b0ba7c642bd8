"""Run the whole service for tests, as processes or as containers. Tests can kill single programs."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import httpx
import psutil
import pytest

from tests.support.waiting import wait_for

ROOT = Path(__file__).parents[2]
LEASE_SECONDS = 6
SECONDS_TO_START = 120
SECONDS_TO_BUILD = 1200
SETTINGS = {
    "TRAINYARD_LEASE_SECONDS": str(LEASE_SECONDS),
    "TRAINYARD_RECONCILE_SECONDS": "1",
    "TRAINYARD_RETRY_SECONDS": "0.5",
}


class Stack(ABC):
    """A running service and an HTTP client of it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60)

    @abstractmethod
    def kill(self, program: str) -> None:
        """Send SIGKILL to api, worker, scheduler or redis. The program is then started again."""

    @abstractmethod
    def restart(self) -> None:
        """Stop all programs gracefully and start them again."""

    def is_ready(self) -> bool:
        try:
            return self.http.get("/health/ready").is_success
        except httpx.TransportError:
            return False


class LocalStack(Stack):
    """A service of processes on this machine, started by `python -m local.stack` like `make run`."""

    WORDS: ClassVar = {
        "api": "-m api",
        "worker": "-m worker",
        "scheduler": "-m worker.scheduler",
        "redis": "redis-server",
    }

    def __init__(self, port: int, folder: Path, **settings: str) -> None:
        super().__init__(port)
        self._folder = folder
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("TRAINYARD_")},
            **SETTINGS,
            "TRAINYARD_PORT": str(self.port),
            "TRAINYARD_DATA_DIR": str(self._folder),
            "TRAINYARD_DATASETS_DIR": str(datasets_dir()),
            **self._settings,
        }
        command = [sys.executable, "-m", "local.stack", "--log-dir", str(self._folder / "logs")]
        self._process = subprocess.Popen(command, cwd=ROOT, env=environment)
        wait_for(self.is_ready, SECONDS_TO_START)

    def stop(self) -> None:
        """Stop the service and assert that it exits with status 0 and leaves no process behind."""
        assert self._process is not None
        children = self.processes()
        self._process.send_signal(signal.SIGTERM)
        assert self._process.wait(60) == 0
        assert not psutil.wait_procs(children, timeout=5)[1]

    def restart(self) -> None:
        self.stop()
        self.start()

    def invite(self, *arguments: str) -> str:
        """Return the link that `python -m api.admin invite` prints."""
        environment = {**os.environ, "TRAINYARD_DATA_DIR": str(self._folder), "TRAINYARD_PORT": str(self.port)}
        command = [sys.executable, "-m", "api.admin", "invite", *arguments]
        done = subprocess.run(
            command, cwd=ROOT, env=environment | self._settings, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def accept(self, link: str) -> str:
        """Accept an invitation, and return the key."""
        answer = self.http.post("/api/v1/invitations/acceptance", json={"token": link.partition("#")[2]})
        self.http.cookies.clear()
        return str(answer.json()["key"]["key"])

    def kill(self, program: str) -> None:
        self.program(program).kill()

    def program(self, name: str) -> psutil.Process:
        assert self._process is not None
        children = psutil.Process(self._process.pid).children()
        (process,) = [child for child in children if f"{self.WORDS[name]} " in f"{' '.join(child.cmdline())} "]
        return process

    def processes(self) -> list[psutil.Process]:
        """List the programs and all of their child processes."""
        assert self._process is not None
        return psutil.Process(self._process.pid).children(recursive=True)


class ComposeStack(Stack):
    """A service of containers, started by `docker compose up` in a separate project.

    `file` is a second compose file, which adds to ours.
    """

    def __init__(self, port: int, project: str = "trainyard-e2e", file: Path | None = None) -> None:
        super().__init__(port)
        self._environment = {
            **os.environ,
            **SETTINGS,
            "COMPOSE_PROJECT_NAME": project,
            "COMPOSE_FILE": f"{ROOT / 'docker-compose.yml'}{f':{file}' if file is not None else ''}",
            "TRAINYARD_PORT": str(port),
            "TRAINYARD_DATASETS_DIR": str(datasets_dir()),
        }

    def compose(self, *arguments: str, timeout: float = SECONDS_TO_START) -> str:
        command = ["docker", "compose", *arguments]
        done = subprocess.run(
            command, cwd=ROOT, env=self._environment, timeout=timeout, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    def start(self) -> None:
        self.compose("up", "--build", "--wait", timeout=SECONDS_TO_BUILD)

    def stop(self) -> None:
        self.compose("down", "--volumes")

    def restart(self) -> None:
        self.compose("restart")
        wait_for(self.is_ready, SECONDS_TO_START)

    def kill(self, program: str) -> None:
        self.compose("kill", program)
        self.compose("start", program)


def datasets_dir() -> Path:
    """Return the folder of the downloaded data sets. It may not exist."""
    return Path(os.environ.get("TRAINYARD_DATASETS_DIR") or "~/.cache/trainyard/datasets").expanduser()


def has_docker_engine() -> bool:
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0


def free_port() -> int:
    """Return a TCP port that is free at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def local_stack(folder: Path, **settings: str) -> Iterator[LocalStack]:
    stack = LocalStack(free_port(), folder, **settings)
    with stack.http:
        try:
            stack.start()
            yield stack
        finally:
            stack.stop()


@contextmanager
def compose_stack(project: str = "trainyard-e2e", file: Path | None = None) -> Iterator[ComposeStack]:
    if not has_docker_engine():
        pytest.skip("no Docker engine is running. Start one and repeat `make e2e-compose`.")
    stack = ComposeStack(free_port(), project, file)
    with stack.http:
        try:
            stack.start()
            yield stack
        finally:
            stack.stop()
