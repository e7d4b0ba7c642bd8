"""`python -m local.stack`: all of Trainyard on this machine, until Ctrl-C or SIGTERM.

Starts Redis, unless TRAINYARD_REDIS_URL names one, brings the database up to date, runs what stands in the Procfile and
restarts what dies. Everything it started ends with it; the data folder stays for the next time.
"""

import argparse
import logging
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

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
    """Something is in the way, and how to remove it."""


class _Signals:
    """Remembers that the end was asked for: a handler must not do more."""

    def __init__(self) -> None:
        self.end_asked_for = False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._ask)

    def _ask(self, *_: object) -> None:
        self.end_asked_for = True


def run(settings: Settings, log_dir: Path | None) -> None:
    """Raises CannotStart."""
    signals = _Signals()
    check_port(settings.host, settings.port)
    # The programs read their settings themselves: what stands relative to our folder must not to theirs.
    os.environ["TRAINYARD_DATA_DIR"] = str(settings.data_dir)
    programs: list[Program] = []
    with _lock_data_folder(settings.data_dir), _run_redis(settings, log_dir, programs):
        try:
            _migrate()
            programs += _make_programs(log_dir)
            said_ready = False
            while not signals.end_asked_for:
                for program in programs:
                    program.keep_running()
                said_ready = said_ready or _say_when_ready(settings)
                time.sleep(POLL_SECONDS)
        finally:
            _end(programs)


def check_port(host: str, port: int) -> None:
    """Raises CannotStart."""
    try:
        with socket.create_server((host, port)):
            pass
    except OSError as error:
        raise CannotStart(
            f"Nothing can listen on {host}:{port} ({error.strerror}): set TRAINYARD_PORT to a free port."
        ) from error


@contextmanager
def _lock_data_folder(folder: Path) -> Iterator[None]:
    """For one stack at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / "stack.lock", timeout=0):
            yield
    except Timeout:
        raise CannotStart(
            f"Another Trainyard runs on {folder}: end it, or set TRAINYARD_DATA_DIR to another folder."
        ) from None


@contextmanager
def _run_redis(settings: Settings, log_dir: Path | None, programs: list[Program]) -> Iterator[None]:
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
    give_up_at = time.monotonic() + REDIS_TIMEOUT_SECONDS
    redis.keep_running()
    while not path.exists():
        if time.monotonic() > give_up_at:
            redis.ask_to_end()
            raise CannotStart("Redis does not start: its own message stands above, or in redis.log.")
        time.sleep(POLL_SECONDS / 4)


def _migrate() -> None:
    try:
        subprocess.run([sys.executable, "-m", "alembic", "upgrade", "head"], cwd=ROOT, check=True)
    except subprocess.CalledProcessError as error:
        raise CannotStart("The database cannot be brought up to date: the reason stands above.") from error


def _make_programs(log_dir: Path | None) -> list[Program]:
    programs = []
    for line in (ROOT / "Procfile").read_text().splitlines():
        name, _, command = line.partition(":")
        words = [sys.executable if word == "python" else word for word in shlex.split(command)]
        programs.append(Program(name, words, ROOT, log_dir))
    return programs


def _say_when_ready(settings: Settings) -> bool:
    address = f"http://{settings.host}:{settings.port}"
    try:
        with urllib.request.urlopen(f"{address}/health/ready", timeout=5):  # noqa: S310 - our own address
            logger.info("trainyard is ready at %s, its documentation at %s/docs", address, address)
            return True
    except (urllib.error.URLError, OSError):
        return False


def _end(programs: list[Program]) -> None:
    """Redis was first and is last, so that the others can end in good order."""
    for program in reversed(programs):
        program.ask_to_end()
    give_up_at = time.monotonic() + END_TIMEOUT_SECONDS
    for program in reversed(programs):
        program.end(max(0.0, give_up_at - time.monotonic()))
        logger.info("%s ended", program.name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--log-dir", type=Path, help="a file for each program, instead of the terminal")
    arguments = parser.parse_args()
    settings = Settings()
    logs.configure_logging(settings.log_level)
    if arguments.log_dir is not None:
        arguments.log_dir.mkdir(parents=True, exist_ok=True)
    try:
        run(settings, arguments.log_dir)
    except CannotStart as reason:
        sys.exit(f"trainyard: {reason}")


if __name__ == "__main__":
    main()
