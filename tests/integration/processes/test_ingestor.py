"""Test that uploads are converted in a child process with limits."""

import dataclasses
import io
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from tempfile import NamedTemporaryFile

import numpy as np
import pytest

from api.ingestion.client import Ingestor, make_pool
from api.ingestion.dataset_upload import ingest_dataset
from api.ingestion.result import TableOptions
from shared.errors import DatasetRefused
from shared.preprocessing.image_decoder import ImageDecoder
from shared.processes.pool import ProcessPool
from tests.support.images import encoded, photo
from tests.support.uploads import TABLE, make_upload_limits, npz, parquet, zipped

LIMITS = make_upload_limits()
IMAGES: dict[str | zipfile.ZipInfo, bytes] = {
    f"{name}/{row}.{kind}": encoded(photo(20, 30), kind) for name in "ab" for row, kind in enumerate(("PNG", "WEBP"))
}
DIE = """
import os
from shared.processes.child import serve_messages
serve_messages(lambda: lambda message: os._exit(3))
"""


@pytest.mark.parametrize(
    "content",
    [TABLE.encode(), npz(x=np.eye(4, dtype=np.float32), y=np.array(["a", "b", "a", "b"])), zipped(IMAGES)],
    ids=["CSV", "npz", "zip"],
)
def test_a_process_converts_a_file_as_this_process_does(
    ingestion_pool: ProcessPool, tmp_path: Path, content: bytes
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    decoder = ImageDecoder(LIMITS.images, processes=0)
    expected = ingest_dataset(io.BytesIO(content), TableOptions(), LIMITS, decoder, here)

    converted = Ingestor(LIMITS, ingestion_pool).ingest_dataset(io.BytesIO(content), TableOptions(), there)

    assert converted.digest() == expected.digest()
    assert dataclasses.replace(converted, files=()) == dataclasses.replace(expected, files=())


def test_a_file_on_the_disk_is_read_in_its_place(ingestion_pool: ProcessPool, tmp_path: Path) -> None:
    with NamedTemporaryFile(dir=tmp_path) as file:
        file.write(TABLE.encode())

        ingested = Ingestor(LIMITS, ingestion_pool).ingest_dataset(file, TableOptions(), tmp_path)

    assert ingested.info.train_rows == 70
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.npy", "y.npy"]


def test_a_refusal_names_the_place(ingestion_pool: ProcessPool, tmp_path: Path) -> None:
    with pytest.raises(DatasetRefused) as refused:
        Ingestor(LIMITS, ingestion_pool).ingest_dataset(io.BytesIO(b"a,b,y\n1,2,0\n3,x,1\n"), TableOptions(), tmp_path)

    assert "Row 2 (line 3), column 'b': 'x' is not a number" in refused.value.faults[0].detail


def test_a_file_that_takes_too_much_memory_is_refused_and_the_next_is_read(
    ingestion_pool: ProcessPool, tmp_path: Path
) -> None:
    members: dict[str | zipfile.ZipInfo, bytes] = {f"{'a' * 8000}/{index}": b"" for index in range(50_000)}
    ingestor = Ingestor(dataclasses.replace(LIMITS, rows=1, files=len(members)), ingestion_pool)

    with pytest.raises(DatasetRefused) as refused:
        ingestor.ingest_dataset(io.BytesIO(zipped(members)), TableOptions(), tmp_path)
    ingested = ingestor.ingest_dataset(io.BytesIO(b"a,y\n1,0\n"), TableOptions(), tmp_path)

    assert "of memory to read" in refused.value.faults[0].detail
    assert ingested.info.train_rows == 1


@pytest.fixture
def failing() -> Iterator[Ingestor]:
    pool = make_pool((sys.executable, "-c", DIE))
    yield Ingestor(LIMITS, pool)
    pool.close()


def test_a_file_that_ends_the_process_is_refused(failing: Ingestor, tmp_path: Path) -> None:
    with pytest.raises(DatasetRefused) as refused:
        failing.ingest_dataset(io.BytesIO(b"a,b\n1,2\n"), TableOptions(), tmp_path)

    assert "ended without an answer" in refused.value.faults[0].detail


def test_a_damaged_parquet_file_is_refused_that_ends_the_process(ingestion_pool: ProcessPool, tmp_path: Path) -> None:
    """arro3 ends the process for this file: a wrong byte and 320 bytes too many in its first column."""
    whole = parquet(s=np.arange(6.0), n=np.arange(6), y=np.array([0, 1] * 3))
    damaged = whole[:87] + b"\xff" + whole[88:151] + 4 * whole[87:151] + whole[87:]
    ingestor = Ingestor(LIMITS, ingestion_pool)

    with pytest.raises(DatasetRefused) as refused:
        ingestor.ingest_dataset(io.BytesIO(damaged), TableOptions(), tmp_path)

    assert "ended without an answer. It is damaged or too large" in refused.value.faults[0].detail
    assert ingestor.ingest_dataset(io.BytesIO(whole), TableOptions(), tmp_path).info.train_rows > 0
