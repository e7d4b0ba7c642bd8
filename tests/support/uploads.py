"""Build files as users would upload them, and upload data sets over HTTP."""

import io
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from arro3.core import Array, DataType, Table
from arro3.io import write_parquet
from flask.testing import FlaskClient

from api.ingestion.result import UploadLimits
from shared.preprocessing.decoding import ImageLimits
from tests.support.images import encoded

TABLE = "width,height,kind\n" + "\n".join(f"{n % 7},{n % 5},{'wide' if n % 7 > n % 5 else 'high'}" for n in range(70))
RED, BLUE = (200, 30, 30), (30, 30, 200)


def flat(color: tuple[int, int, int], size: tuple[int, int] = (12, 16)) -> bytes:
    """Return a PNG of one colour. `size` is (height, width)."""
    return encoded(np.full((*size, 3), color, np.uint8))


def zipped(members: Mapping[str | zipfile.ZipInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def colors(per_class: int = 6, folder: str = "") -> dict[str | zipfile.ZipInfo, bytes]:
    """Return the members of a zip file with two classes. All images differ in colour or height."""
    members: dict[str | zipfile.ZipInfo, bytes] = {}
    for number in range(per_class):
        size = (12 + number, 16)
        members[f"{folder}red/{number}.png"] = flat((200 + number, 30, 30), size)
        members[f"{folder}blue/{number}.png"] = flat((30, 30, 200 + number), size)
    return members


def npz(**arrays: object) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def parquet(**columns: np.ndarray | list[bytes]) -> bytes:
    written = io.BytesIO()
    arrays: dict[str, Any] = {
        name: Array(values) if isinstance(values, np.ndarray) else Array(values, DataType.binary())
        for name, values in columns.items()
    }
    write_parquet(Table.from_pydict(arrays), written)
    return written.getvalue()


def upload_dataset(http: FlaskClient, content: bytes, name: str = "colors", **fields: Any) -> Any:
    return http.post("/api/v1/datasets", data={"name": name, "file": (io.BytesIO(content), "upload"), **fields})


def make_upload_limits(*, bytes: int = 2**24, files: int = 200, rows: int = 10**6, pixels: int = 10**8) -> UploadLimits:  # noqa: A002 - the field
    return UploadLimits(bytes, files, rows, pixels, images=ImageLimits(max_bytes=2**20, max_pixels=10**6))
