"""Run all programs of Trainyard on this machine until Ctrl-C or SIGTERM. Usage: `python -m local.stack`.

Starts Redis unless TRAINYARD_REDIS_URL is set, migrates the database, and runs the programs of the Procfile. Restarts a
program that ends. Stops all programs at the end. The data folder stays for the next start.
"""

import argparse
import logging
import os
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from local.log_follower import LogFollower
from local.program import Program
from local.redis_server import make_redis_command, make_redis_url, make_socket_folder
from shared import logs
from shared.settings import Settings

logger = logging.getLogger(__name__)

ROOT = Path(__file__).parent.parent
END_TIMEOUT_SECONDS = 30.0
REDIS_TIMEOUT_SECONDS = 10.0
POLL_SECONDS = 0.2


class CannotStart(Exception):
    """The stack cannot start. The message contains the reason and the remedy."""


class _Signals:
    """The signal handlers. They only set `end_asked_for`, because a handler can interrupt the program at any line."""

    def __init__(self) -> None:
        self.end_asked_for = False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._ask)

    def _ask(self, *_: object) -> None:
        self.end_asked_for = True


def run(settings: Settings, log_dir: Path, follower: LogFollower | None) -> None:
    """Run the stack until a signal. Raises CannotStart.

    `log_dir` is the folder for the output of each program; the `follower` shows the lines of our programs.
    """
    signals = _Signals()
    check_port(settings.host, settings.port)
    # The programs read the settings themselves, in the folder ROOT. A relative path would be a different folder there.
    os.environ["TRAINYARD_DATA_DIR"] = str(settings.data_dir)
    programs: list[Program] = []
    with _lock_data_folder(settings.data_dir), _run_redis(settings, log_dir, programs):
        try:
            _migrate(log_dir)
            programs += _make_programs(log_dir)
            said_ready = False
            while not signals.end_asked_for:
                for program in programs:
                    program.keep_running()
                if follower is not None:
                    follower.show()
                said_ready = said_ready or _say_when_ready(settings)
                time.sleep(POLL_SECONDS)
        finally:
            _end(programs)
            if follower is not None:
                follower.close()


def check_port(host: str, port: int) -> None:
    """Check that the API can listen on this address. Raises CannotStart."""
    try:
        with socket.create_server((host, port)):
            pass
    except OSError as error:
        raise CannotStart(
            f"The API cannot listen on {host}:{port} ({error.strerror}). Set TRAINYARD_PORT to a free port."
        ) from error


@contextmanager
def _lock_data_folder(folder: Path) -> Iterator[None]:
    """Lock the data folder, so that only one stack uses it. Raises CannotStart."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / "stack.lock", timeout=0):
            yield
    except Timeout:
        raise CannotStart(
            f"Another stack uses the data folder {folder}. Stop it, or set TRAINYARD_DATA_DIR to a different folder."
        ) from None


@contextmanager
def _run_redis(settings: Settings, log_dir: Path, programs: list[Program]) -> Iterator[None]:
    """Start Redis and add it to `programs`, unless TRAINYARD_REDIS_URL is set.

    Raises CannotStart, or FileNotFoundError if no Redis server is installed.
    """
    if "redis_url" in settings.model_fields_set:
        yield
        return
    folder = make_socket_folder()
    try:
        path = folder / "redis.sock"
        os.environ["TRAINYARD_REDIS_URL"] = make_redis_url(path)
        redis = Program("redis", make_redis_command(path), ROOT, log_dir)
        programs.append(redis)
        _await_socket(redis, path)
        yield
    finally:
        shutil.rmtree(folder)


def _await_socket(redis: Program, path: Path) -> None:
    """Start Redis, and wait until its socket exists. Raises CannotStart."""
    give_up_at = time.monotonic() + REDIS_TIMEOUT_SECONDS
    redis.keep_running()
    while not path.exists():
        if time.monotonic() > give_up_at:
            redis.ask_to_end()
            raise CannotStart(f"Redis did not start. Its error message is in {redis.log}.")
        time.sleep(POLL_SECONDS / 4)


def _migrate(log_dir: Path) -> None:
    """Migrate the database to the newest schema. Raises CannotStart."""
    path = log_dir / "migrate.log"
    with path.open("ab") as log:
        command = [sys.executable, "-m", "alembic", "upgrade", "head"]
        if subprocess.run(command, cwd=ROOT, stdout=log, stderr=log, check=False).returncode:
            raise CannotStart(f"The migration of the database failed. Its error message is in {path}.")


def _make_programs(log_dir: Path) -> list[Program]:
    """Make the programs of the Procfile. They run with the Python of this process."""
    programs = []
    for line in (ROOT / "Procfile").read_text().splitlines():
        name, _, command = line.partition(":")
        words = [sys.executable if word == "python" else word for word in shlex.split(command)]
        programs.append(Program(name, words, ROOT, log_dir))
    return programs


def _say_when_ready(settings: Settings) -> bool:
    """Log the address if the API is ready. Returns whether it is."""
    address = f"{settings.scheme}://{settings.host}:{settings.port}"
    context = ssl._create_unverified_context() if settings.scheme == "https" else None  # noqa: S323, SLF001 - itself
    try:
        with urllib.request.urlopen(f"{address}/health/ready", timeout=5, context=context):  # noqa: S310 - the address of the API
            logger.info(
                "trainyard is ready: its pages are at %s/ui/, the API documentation is at %s/docs", address, address
            )
            return True
    except (urllib.error.URLError, OSError):
        return False


def _end(programs: list[Program]) -> None:
    """Stop all programs within END_TIMEOUT_SECONDS, in the reverse order of their start.

    Sends SIGTERM to all of them, to Redis last. Then waits for each program, and kills it if the time is over.
    """
    for program in reversed(programs):
        program.ask_to_end()
    give_up_at = time.monotonic() + END_TIMEOUT_SECONDS
    for program in reversed(programs):
        program.end(max(0.0, give_up_at - time.monotonic()))
        logger.info("%s ended", program.name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--log-dir", type=Path, help="folder for the log files, whose lines are then not shown. Default: data/logs"
    )
    arguments = parser.parse_args()
    settings = Settings()
    logs.configure_logging(settings.log_level)
    log_dir = arguments.log_dir or settings.data_dir / "logs"
    log_dir.mkdir(parents=True, exist_ok=True)
    follower = None if arguments.log_dir is not None else LogFollower(log_dir, ["api", "worker", "scheduler"])
    if follower is not None:
        logger.info("the output of each program is in %s", log_dir)
    try:
        run(settings, log_dir, follower)
    except CannotStart as reason:
        sys.exit(f"trainyard: {reason}")


if __name__ == "__main__":
    main()
