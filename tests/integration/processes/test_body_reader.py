"""Test how large bodies of prediction requests are parsed in a process."""

from collections.abc import Iterator

import numpy as np
import pytest

from api.http.reading.body_reader import MAX_BYTES_HERE, BodyReader, MalformedJson
from api.http.reading.csv_numbers import MAX_VALUES
from api.http.reading.json_arrays import MAX_ARRAYS, MAX_LOOSE_VALUES, MIN_NUMBERS
from shared.errors import MalformedRequest, RequestTooLarge

ROWS = MAX_BYTES_HERE // 2
PADDING = b" " * MAX_BYTES_HERE
LIST = b"[" + b"1," * MIN_NUMBERS + b"2]"


@pytest.fixture(scope="module")
def reader() -> Iterator[BodyReader]:
    """Provide a reader with a process of its own."""
    reader = BodyReader()
    yield reader
    reader.close()


def test_regular_lists_become_arrays(reader: BodyReader) -> None:
    text = (
        b'{"whole": ['
        + b"[1, 2], " * ROWS
        + b'[3, 4]], "mixed": ['
        + b"1, 0.5, " * 40
        + b'2], "few": [1, 2], "t": "x"}'
    )

    document = reader.read_json(text)

    assert document["whole"].shape == (ROWS + 1, 2)
    assert (document["whole"].dtype, document["mixed"].dtype) == (np.dtype(np.int64), np.dtype(np.float64))
    assert document["whole"][-1].tolist() == [3, 4]
    assert document["mixed"][:3].tolist() == [1, 0.5, 1]
    assert (document["few"], document["t"]) == ([1, 2], "x")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"[" + b"0," * MAX_VALUES + b"0]", "more than 4,000,000 values"),
        (b"[" + b"null," * MAX_LOOSE_VALUES + b"0]", "more than 250,000 values outside"),
        (
            b"[" + (b"[" + b"1," * MIN_NUMBERS + b"2],[3],") * MAX_ARRAYS + b"[" + b"1," * MIN_NUMBERS + b"2]]",
            "more than 10,000 separate",
        ),
    ],
)
def test_too_many_values_are_refused(reader: BodyReader, text: bytes, found: str) -> None:
    with pytest.raises(RequestTooLarge, match=found):
        reader.read_json(PADDING + text)


def test_too_large_tables_are_refused(reader: BodyReader) -> None:
    with pytest.raises(RequestTooLarge, match="more than 4,000,000 numbers"):
        reader.read_csv(b"a\n" + b"0\n" * (MAX_VALUES + 1), ())


@pytest.mark.parametrize("row", [1, 2, 16_384, 16_385, 50_000])
def test_the_row_with_another_number_of_cells_is_told(reader: BodyReader, row: int) -> None:
    lines = [b"0.5"] * 50_000
    lines[row - 1] = b"0.5,1"
    other, rest = (2, 1) if row == 1 else (1, 2)

    with pytest.raises(MalformedRequest, match=f"Row {max(row, 2)} of the CSV has {rest} cells, and row 1 has {other}"):
        reader.read_csv(b"\n".join(lines), ())


def test_batches_keep_the_order_of_rows_and_columns(reader: BodyReader) -> None:
    rows = np.arange(120_000, dtype=np.float64).reshape(-1, 3)
    text = "a,b,c\n" + "\n".join(",".join(map(str, row)) for row in rows.tolist())

    np.testing.assert_array_equal(reader.read_csv(text.encode(), ("c", "a")), rows[:, [2, 0]])


def test_the_place_of_a_fault_is_told(reader: BodyReader) -> None:
    with pytest.raises(MalformedJson) as raised:
        reader.read_json(PADDING + b"[1,,2]")

    assert raised.value.pos == len(PADDING) + 3
