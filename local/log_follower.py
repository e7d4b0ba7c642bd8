"""Show the lines that our programs log, from their log files. What others write into these files stays there."""

import json
import sys
from pathlib import Path
from typing import IO

from shared import logs

MAX_OLD_BYTES = 16 * 2**20
"""A larger log file is renamed at the start of a stack; the one before it is deleted."""


class LogFollower:
    """Follows the log files of programs, and writes their lines to standard error.

    Call `show` repeatedly. On a terminal the lines have the form of our own, else that of the file.
    """

    def __init__(self, folder: Path, names: list[str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._files: list[IO[bytes]] = []
        for name in names:
            path = folder / f"{name}.log"
            if path.exists() and path.stat().st_size > MAX_OLD_BYTES:
                path.replace(path.with_suffix(".log.1"))
            path.touch()
            file = path.open("rb")
            file.seek(0, 2)
            self._files.append(file)

    def show(self) -> None:
        """Write the lines that were logged since the last call."""
        for file in self._files:
            while line := file.readline():
                if not line.endswith(b"\n"):
                    file.seek(-len(line), 1)  # the rest is still to come
                    break
                self._show_line(line)

    def close(self) -> None:
        """Write the last lines, and close the files."""
        self.show()
        for file in self._files:
            file.close()

    @staticmethod
    def _show_line(line: bytes) -> None:
        try:
            document = json.loads(line)
        except ValueError:
            return
        if isinstance(document, dict) and {"time", "level", "logger", "message"} <= document.keys():
            is_terminal = sys.stderr.isatty()
            print(logs.format_plain(document) if is_terminal else line.decode().rstrip(), file=sys.stderr, flush=True)
