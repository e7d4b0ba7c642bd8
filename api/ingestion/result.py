"""Define the limits, the options, the result and the error of an upload."""

import hashlib
import json
import lzma
import tokenize
import zipfile
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from shared.datasets.info import DatasetInfo
from shared.errors import DatasetRefused, Fault
from shared.preprocessing.decoding import ImageLimits
from shared.spec.fields import SpecPart
from shared.storage.artifacts import compute_digest

MAX_FAULTS = 20
"""Maximum number of faults in one response."""
FILE_POINTER = "#/file"
"""JSON Pointer to the form field that contains the file."""
UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    tokenize.TokenError,
    ArithmeticError,
    EOFError,
    LookupError,
    NotImplementedError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)
"""Exceptions of zipfile, zlib and NumPy for damaged, encrypted or unsupported archives and arrays. zipfile raises
NotImplementedError for an unknown compression method and RuntimeError for an encrypted member. NumPy evaluates the
header of an array as a literal of Python."""


@dataclass(frozen=True)
class UploadLimits:
    """Limits on an upload.

    Attributes:
        bytes: size of the request body, and total size of the unpacked members of an archive.
        files: number of members of a zip of images.
        rows: number of rows of a CSV or an npz.
        pixels: pixels of all images of a zip together.
        images: limits on each image.
        reserved_bytes: free bytes of the disk that are kept.
    """

    bytes: int
    files: int
    rows: int
    pixels: int
    images: ImageLimits
    reserved_bytes: int = 0


@dataclass(frozen=True)
class ParsedDataset:
    """A data set whose files are written to a local folder.

    Attributes:
        info: shape, labels and number of rows.
        files: the files of the data set.
        columns: names of the input columns of a CSV, otherwise empty.
        label: name of the label column of a CSV, otherwise None.
        ignored: paths of the members of an archive that are not part of the data set.
        warnings: what the sender may not have meant.
    """

    info: DatasetInfo
    files: tuple[Path, ...]
    columns: tuple[str, ...] = ()
    label: str | None = None
    ignored: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def digest(self) -> str:
        """Return the SHA-256 digest of all content that affects a training, as hexadecimal digits.

        The same content in another archive, or below other folders, has the same digest.
        """
        facts = asdict(self.info)
        for key in ("encodings", "validation_rows", "validation_class_rows", "weighted", "texts"):
            if not facts[key]:
                del facts[key]  # so that revisions that are older than the key keep their digest
        if self.info.decimal == ".":
            del facts["decimal"]
        content = {
            "facts": facts,
            "columns": self.columns,
            "files": {path.name: compute_digest(path) for path in self.files},
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


LABEL_NAMES = frozenset({"label", "labels", "class", "target", "y", "category", "species", "outcome"})
"""Names of columns, in lower case, that are probably labels."""
ONE_HOT = "one-hot"
MEDIAN, MEAN, MOST_FREQUENT = "median", "mean", "most-frequent"


class ColumnOptions(SpecPart):
    """Options for an input column of a table.

    Attributes:
        encode: `one-hot`: each category becomes a number that is 0 or 1.
        fill: what is in place of a missing value: `median`, `mean` or a number, or for categories `most-frequent` or a
            category. None: no value may be missing.
    """

    encode: Literal["number", "one-hot"] = "number"
    fill: float | Annotated[str, Field(max_length=1000)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, given: object) -> object:
        """Accept `one-hot` for `{encode: one-hot}`."""
        return {"encode": given} if isinstance(given, str) else given


class TableOptions(SpecPart):
    """Options for a table.

    Attributes:
        task: `classification` or `regression`. None: the loss of a spec decides about integer labels.
        label: name or position of the label column. None: the last column.
        header: whether the first row contains the names of the columns. None: it is detected.
        leave_out: names or positions of columns that are not inputs.
        columns: options of input columns, by name or position.
        weight: name or position of the column with the weight of each row. None: all rows weigh the same.
        text: name or position of the column with texts, which is then the only input. None: it is detected.
        encoding: the encoding of the text. None: UTF-8 or UTF-16, or else it is guessed.
    """

    task: str | None = None
    label: str | None = None
    header: bool | None = None
    leave_out: tuple[str, ...] = ()
    columns: dict[str, ColumnOptions] = Field(default={})
    weight: str | None = None
    text: str | None = None
    encoding: str | None = None


def dataset_error(*details: str, more: int = 0) -> DatasetRefused:
    """Build the error for a refused file. It lists the first MAX_FAULTS of `details`.

    `more` is the number of further faults that are not in `details`.
    """
    more += max(0, len(details) - MAX_FAULTS)
    rest = f" The first {MAX_FAULTS} faults are listed, with {more} more left out." if more else ""
    faults = tuple(Fault(FILE_POINTER, text) for text in details[:MAX_FAULTS])
    return DatasetRefused(f"The file cannot be used.{rest}", faults)
