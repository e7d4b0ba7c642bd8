"""What an upload came to."""

import hashlib
import json
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from shared.datasets.info import DatasetInfo
from shared.errors import DatasetRefused, Fault
from shared.spec.fields import SpecPart
from shared.storage.artifacts import compute_digest

MAX_FAULTS = 20
"""In one answer."""
FILE_POINTER = "#/file"
UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError, RuntimeError, ValueError)
"""What Python raises over damaged, encrypted or exotic archives and arrays; NotImplementedError is zipfile's word for a
compression that it does not know."""


@dataclass(frozen=True)
class UploadLimits:
    """What is refused; `files` counts the members of an archive, `bytes` what they unpack to."""

    bytes: int
    files: int
    image_bytes: int
    image_pixels: int


@dataclass(frozen=True)
class ParsedDataset:
    """`columns` are a table's, without the label; `ignored` are members of an archive that are no data."""

    info: DatasetInfo
    files: tuple[Path, ...]
    columns: tuple[str, ...] = ()
    label: str | None = None
    ignored: tuple[str, ...] = ()

    def digest(self) -> str:
        """sha256 of all that a training could see: the same content is the same, whatever archive it came in."""
        content = {
            "facts": asdict(self.info),
            "columns": self.columns,
            "files": {path.name: compute_digest(path) for path in self.files},
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class TableOptions(SpecPart):
    """How a CSV is to be read; None leaves it to the file."""

    task: str | None = None
    label: str | None = None
    header: bool | None = None
    leave_out: tuple[str, ...] = ()


def dataset_error(details: Sequence[str], more: int = 0) -> DatasetRefused:
    """With as many of them as fit one answer; `more` is how many there are beyond these."""
    more += max(0, len(details) - MAX_FAULTS)
    rest = f" {more} more of the same kind." if more else ""
    faults = tuple(Fault(FILE_POINTER, text) for text in details[:MAX_FAULTS])
    return DatasetRefused(f"The file cannot be taken.{rest}", faults)
