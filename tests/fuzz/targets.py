"""Define what is fuzzed: functions that read bytes, and seeds from which the inputs are mutated.

A function may return anything, and raise a ServiceError. Everything else is a fault. Parquet is read in a process of
its own, as in the service: arro3 ends the process for some damaged files.
"""

import base64
import io
import json
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from api.http.bodies import parse_document
from api.http.pagination import NUMBER_KEY, TEXT_KEY, TIME_KEY, parse_page
from api.http.reading.body_reader import parse_json
from api.http.reading.csv_numbers import parse_csv
from api.http.reading.json_arrays import dump_values, join_arrays, load_values, split_arrays
from api.http.validation import validate
from api.ingestion.client import Ingestor
from api.ingestion.dataset_upload import ingest_dataset
from api.ingestion.result import TableOptions
from shared.preprocessing.decoding import ImageLimits, read_header
from shared.preprocessing.image_decoder import ImageDecoder
from shared.spec.training import TrainingSpec
from tests.support.contracts import build_image_contract
from tests.support.examples import DIGITS, IRIS
from tests.support.images import encoded, hide_frame, make_chunk, photo
from tests.support.uploads import TABLE, colors, make_upload_limits, npz, parquet, zipped

LIMITS = make_upload_limits(bytes=2**26, rows=10**5)
IMAGE_LIMITS = ImageLimits(max_bytes=2**20, max_pixels=2_000_000)
CONTRACT = build_image_contract()
COLUMNS = TableOptions.model_validate({"columns": {"0": "one-hot", "1": {"fill": "median"}}})
"""A column of categories, and one whose missing values are filled."""


@dataclass(frozen=True)
class Target:
    read: Callable[[bytes], object]
    seeds: tuple[bytes, ...]
    max_seconds: int = 5
    """The longest time to read one input."""


@cache
def get_decoder() -> ImageDecoder:
    return ImageDecoder(IMAGE_LIMITS)


def read_image(data: bytes) -> object:
    return get_decoder().transform(data, read_header(data, IMAGE_LIMITS), CONTRACT)


def read_upload(data: bytes) -> object:
    with tempfile.TemporaryDirectory() as folder:
        return ingest_dataset(io.BytesIO(data), TableOptions(), LIMITS, get_decoder(), Path(folder))


@cache
def get_ingestor() -> Ingestor:
    return Ingestor(LIMITS)


def read_parquet(data: bytes) -> object:
    with tempfile.TemporaryDirectory() as folder:
        return get_ingestor().ingest_dataset(io.BytesIO(data), COLUMNS, Path(folder))


def read_table(data: bytes) -> object:
    with tempfile.TemporaryDirectory() as folder:
        return ingest_dataset(io.BytesIO(data), COLUMNS, LIMITS, get_decoder(), Path(folder))


def read_spec(data: bytes) -> object:
    return validate(TrainingSpec, parse_document(data, is_yaml=False))


def read_yaml(data: bytes) -> object:
    return validate(TrainingSpec, parse_document(data, is_yaml=True))


def read_values(data: bytes) -> object:
    """Take the arrays out of JSON and put them back. Raises AssertionError if the values are not the same."""
    try:
        document = parse_json(data)
    except (ValueError, RecursionError):
        return None
    split = split_arrays(parse_json(data))
    content = b"".join(array.tobytes() for array in split.arrays)
    joined = join_arrays(load_values(dump_values(split.document)), split.places, memoryview(content))
    assert _format_floats(joined) == _format_floats(document)
    return joined


def _format_floats(document: object) -> str:
    """Format JSON values or arrays with floats only: an array of integers and floats contains only floats."""
    lists = json.dumps(document, default=lambda value: value.tolist())
    return json.dumps(json.loads(lists, parse_int=float))


def read_numbers(data: bytes) -> object:
    return parse_csv(data, ("a", "b"))


def read_cursor(data: bytes) -> object:
    text = data.decode("latin-1")
    return [parse_page(10, text, key) for key in (NUMBER_KEY, TEXT_KEY, TIME_KEY)]


def _make_images() -> tuple[bytes, ...]:
    png = encoded(photo(20, 30))
    transparent = encoded(np.dstack([photo(20, 30), photo(20, 30)[..., 0]]))
    jpeg = encoded(photo(20, 30), "JPEG")
    return (
        png,
        transparent,
        png[:33] + make_chunk(b"acTL", bytes(8)) + png[33:],
        png[:33] + b"\xff\xff\xff\xf0IDAT" + bytes(16),
        jpeg,
        hide_frame(jpeg, 32_000, 32_000),
        encoded(photo(20, 30), "JPEG", progressive=True),
        *(encoded(photo(20, 30), name) for name in ("WEBP", "GIF", "BMP", "TIFF")),
    )


def make_targets() -> dict[str, Target]:
    arrays = {"x": np.arange(24, dtype=np.float32).reshape(6, 4), "y": np.array([0, 1] * 3)}
    specs = tuple(json.dumps(spec).encode() for spec in (DIGITS, IRIS))
    cursors = ("[1]", '["a"]', '["2020-01-01T00:00:00", "00000000-0000-0000-0000-000000000007"]')
    tables = (TABLE.encode(), b"a;b;y\n1,5;2;x\n3;4,5;y\n", '"a","b\n"\n"1","2"\n'.encode("utf-16"))
    korean = "이름;값;y\n가;1,5;0\n나;;1\n".encode("cp949")
    table_file = parquet(s=np.arange(6.0), n=np.arange(6), y=np.array([0, 1] * 3))
    compressed = io.BytesIO()
    with zipfile.ZipFile(compressed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in colors().items():
            archive.writestr(name, content)
    return {
        "images": Target(read_image, _make_images()),
        "csv": Target(read_upload, tables),
        "table": Target(read_table, (b"s,n,y\nm,1,0\nf,,1\n", korean)),
        "parquet": Target(read_parquet, (table_file,), max_seconds=60),  # a process of its own starts in some seconds
        "npz": Target(read_upload, (npz(**arrays), npz(x=np.zeros((4, 5, 5), np.uint8), y=np.array(["a", "b"] * 2)))),
        "zip": Target(read_upload, (zipped(colors()), compressed.getvalue())),
        "json": Target(read_spec, (*specs, b'{"a": [1, 1e308, "\\u00e9"], "b": {"c": null}}')),
        "values": Target(read_values, (json.dumps({"instances": [[0.5] * 8] * 9, "b": ["x", 1, True]}).encode(),)),
        "numbers": Target(read_numbers, (b"a,b\n1,2\n3,4\n", b'"b","a"\r\n1e3,-2\r\n')),
        "yaml": Target(read_yaml, (*specs, b"a: &x [1, 2]\nb: *x\n? 0xFFFF\n: !!set {1}\n")),
        "cursors": Target(read_cursor, tuple(base64.urlsafe_b64encode(text.encode()) for text in cursors)),
    }
