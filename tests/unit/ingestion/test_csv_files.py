"""Test that CSV files of common programs are ingested and that their faults are reported."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from api.ingestion.result import ParsedDataset, TableOptions
from api.ingestion.tables.csv_files import ingest_csv
from api.ingestion.tables.csv_reader import MAX_ROW_CHARACTERS
from shared.datasets.info import TargetKind
from shared.errors import DatasetRefused
from tests.support.uploads import make_upload_limits

PLAIN = "a,b,y\n1,2.5,0\n3,4,1\n-5,6e2,1\n"
X = [[1, 2.5], [3, 4], [-5, 600]]


def read(text: str | bytes, folder: Path, **options: Any) -> tuple[ParsedDataset, NDArray[Any], NDArray[Any]]:
    content = text if isinstance(text, bytes) else text.encode()
    ingested = ingest_csv(io.BytesIO(content), TableOptions(**options), make_upload_limits(), folder)
    return ingested, np.load(folder / "x.npy"), np.load(folder / "y.npy")


def read_fault_details(text: str | bytes, folder: Path, **options: Any) -> str:
    with pytest.raises(DatasetRefused) as refused:
        read(text, folder, **options)
    return "\n".join(fault.detail for fault in refused.value.faults)


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        PLAIN.encode("utf-8-sig"),
        PLAIN.encode("utf-16"),
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n", "\r"),
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t"),
        PLAIN.replace(",", ";").replace("2.5", "2,5"),
        PLAIN.replace("2.5", '"2.5"').replace("a,", '"a",'),
        PLAIN.replace("1,2.5", " 1 , 2.5 "),
        PLAIN + "\n\n",
        PLAIN.rstrip("\n"),
    ],
)
def test_the_csv_variants_of_common_programs_give_the_same_table(tmp_path: Path, text: str | bytes) -> None:
    ingested, x, y = read(text, tmp_path)

    assert (ingested.columns, ingested.label) == (("a", "b"), "y")
    assert x.dtype == np.float32
    assert x.tolist() == X
    assert y.tolist() == [0, 1, 1]


def test_columns_without_a_header_are_named_by_index(tmp_path: Path) -> None:
    ingested, x, _ = read("1,2,0\n3,4,1\n", tmp_path)

    assert ingested.columns == ("column 0", "column 1")
    assert len(x) == 2


def test_semicolons_with_decimal_commas_are_detected_without_a_header(tmp_path: Path) -> None:
    _, x, _ = read("1,5;2,5;0\n3,5;4,5;1\n", tmp_path)

    assert x.tolist() == [[1.5, 2.5], [3.5, 4.5]]


@pytest.mark.parametrize(("label", "header"), [("y", None), ("0", None), ("-3", True)])
def test_the_label_column_is_selected_by_name_or_index(tmp_path: Path, label: str, header: object) -> None:
    ingested, x, y = read("y,a,b\n0,1,2\n1,3,4\n", tmp_path, label=label, header=header)

    assert ingested.columns == ("a", "b")
    assert (x.tolist(), y.tolist()) == ([[1, 2], [3, 4]], [0, 1])


def test_columns_are_left_out_by_name_or_index(tmp_path: Path) -> None:
    ingested, x, _ = read("id,a,b,y\nx1,1,2,0\nx2,3,4,1\n", tmp_path, leave_out=("id", "2"))

    assert ingested.columns == ("a",)
    assert x.tolist() == [[1], [3]]


def test_text_labels_are_classes_in_alphabetical_order(tmp_path: Path) -> None:
    ingested, _, y = read('a,kind\n1,"Öl, rot"\n2,Blau\n3,Blau\n', tmp_path)

    assert ingested.info.targets is TargetKind.CLASSES
    assert ingested.info.classes == ("Blau", "Öl, rot")
    assert ingested.info.class_rows == ((2, 0), (1, 0))
    assert y.tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    ("task", "kind", "classes"),
    [
        (None, TargetKind.INTEGERS, ("2", "10")),
        ("classification", TargetKind.CLASSES, ("2", "10")),
        ("regression", TargetKind.NUMBERS, ()),
    ],
)
def test_the_task_determines_the_kind_of_integer_labels(
    tmp_path: Path, task: str | None, kind: TargetKind, classes: tuple[str, ...]
) -> None:
    ingested, _, _ = read("a,y\n1,10\n2,2\n3,10\n", tmp_path, task=task)

    assert (ingested.info.targets, ingested.info.classes) == (kind, classes)


def test_labels_with_a_decimal_point_are_numbers(tmp_path: Path) -> None:
    ingested, _, y = read("a,y\n1,10.5\n2,2\n", tmp_path)

    assert ingested.info.targets is TargetKind.NUMBERS
    assert y.tolist() == [[10.5], [2]]


def test_a_hundred_thousand_rows_are_read(tmp_path: Path) -> None:
    rows = "\n".join(f"{row},{row / 7:.3f},{row % 3}" for row in range(100_000))

    ingested, x, _ = read(f"a,b,y\n{rows}\n", tmp_path)

    assert x.shape == (100_000, 2)
    assert ingested.info.class_rows == ((33_334, 0), (33_333, 0), (33_333, 0))


def test_a_hundred_thousand_columns_are_read(tmp_path: Path) -> None:
    names = ",".join(f"c{column}" for column in range(99_999))

    ingested, x, _ = read(f"{names},y\n{'1,' * 99_999}0\n{'2,' * 99_999}1\n", tmp_path)

    assert x.shape == (2, 99_999)
    assert ingested.columns[-1] == "c99998"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "a,b,y\n1,2,0\n3,4\n5,6,1,9\n",
            ["Row 2 (line 3) has 2 cells; the first row has 3", "Row 3 (line 4) has 4 cells"],
        ),
        ("a,b,y\n1,2,0\n3,old,1\n", ["Row 2 (line 3), column 'b': 'old' is not a number"]),
        ("a,b,y\n1,2,0\n3,1_000,1\n4,x,0\n", ["Row 2 (line 3), column 'b': '1_000' is not a number"]),
        ("a,b,y\n1,2,0\n3,1e300,1\n", ["'1e300' is not a finite 32-bit number"]),
        ("a,b,y\n1,inf,0\n3,1,1\n", ["Row 1 (line 2), column 'b': 'inf' is not a finite"]),
        (
            "a,b,y\n1,,0\n3,NA,1\n4,5,\n",
            ["Column 'b': 2 values are missing, in rows 1, 2", "Column 'y': 1 value is missing, in row 3"],
        ),
        ("a,a,y\n1,2,0\n", ["More than one column is named 'a'"]),
        ("1,2,0\n3,4,x\n5,6,1\n", ["Row 2, column 'column 2': 'x' is not a number"]),
        ("a,b,y\n", ["a header and no rows"]),
        ("\n\n", ["no rows"]),
        ("only\n1\n2\n", ["a single cell"]),
        ('a,b,y\n1,2,"0\n3,4,1\n', ["Line 3: ", "a quote that is not closed"]),
        (b"a,b,y\n1,2,\xff\xfe\xfa\n", ["not text in UTF-8"]),
        (b"a,b,y\n1,2,\0\n", ["NUL"]),
        ("a,y\n1,same\n2,same\n", ["column 'y' has the same value in all rows"]),
        (f"a,y\n1,{'x' * 100_000}\n" + "1,b\n" * 300_000, ["100,000 characters; the limit is 100"]),
        ("sex,y\nmale,0\nfemale,1\n", ["'male' is not a number"]),
        ("1," * 100_000 + "0\n" + "2," * 100_000 + "1\n", ["Line 1 has 100,001 cells; the limit is 100,000"]),
        ("a,b,y\n1,2,0\n" + "3" * (MAX_ROW_CHARACTERS + 1), ["Line 3: the row has more than 8,388,608 characters"]),
        ("a,b,y\n1,2,0\n" + '3,"\n",' * 2_000_000, ["the row has more than 8,388,608 characters"]),
    ],
)
def test_faults_are_reported_with_row_and_column(tmp_path: Path, text: str | bytes, words: list[str]) -> None:
    details = read_fault_details(text, tmp_path)

    assert [word for word in words if word not in details] == [], details


@pytest.mark.parametrize(
    "options", [{"label": "z"}, {"label": "3"}, {"label": "-4"}, {"leave_out": ("z",)}, {"leave_out": ("y",)}]
)
def test_an_invalid_column_option_is_refused_with_its_pointer(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(DatasetRefused) as refused:
        read(PLAIN, tmp_path, **options)

    assert refused.value.faults[0].pointer == f"#/{next(iter(options))}"


def test_every_column_at_fault_is_named_with_few_of_its_cells(tmp_path: Path) -> None:
    with pytest.raises(DatasetRefused) as refused:
        read("a,b,c,y\n" + "1,2,3,0\n" * 60 + "1,x,3,0\n" * 50 + "1,2,z,0\n", tmp_path)

    details = [fault.detail for fault in refused.value.faults]
    rows = [detail.split(",")[0] for detail in details[:3]]
    assert rows == ["Row 61 (line 62)", "Row 62 (line 63)", "Row 63 (line 64)"]
    assert details[3] == "Column 'b': 47 more rows have such a fault."
    assert "column 'c': 'z'" in details[4]


def test_twenty_faults_are_listed_and_the_others_counted(tmp_path: Path) -> None:
    with pytest.raises(DatasetRefused) as refused:
        read("a,b,y\n" + "1,2,0\n" * 60 + "1,0\n" * 50, tmp_path)

    assert len(refused.value.faults) == 20
    assert "30 more" in refused.value.detail


def test_the_rows_of_a_table_are_limited(tmp_path: Path) -> None:
    content = io.BytesIO(("a,y\n" + "1,0\n2,1\n" * 3).encode())

    with pytest.raises(DatasetRefused) as refused:
        ingest_csv(content, TableOptions(), make_upload_limits(rows=5), tmp_path)

    assert "more than 5 rows, the limit (TRAINYARD_MAX_DATASET_ROWS)" in refused.value.faults[0].detail


def test_a_file_is_written_as_numpy_writes_it(tmp_path: Path) -> None:
    _, x, _ = read("a,b,y\n1,2,0\n3,4,1\n", tmp_path)

    np.save(tmp_path / "expected.npy", x)

    assert (tmp_path / "x.npy").read_bytes() == (tmp_path / "expected.npy").read_bytes()


@pytest.mark.parametrize(("classes", "is_refused"), [(10_000, False), (10_001, True)])
def test_more_than_ten_thousand_class_names_are_refused(tmp_path: Path, classes: int, *, is_refused: bool) -> None:
    table = "a,y\n" + "".join(f"{row},class {row}\n" for row in range(classes))

    if is_refused:
        with pytest.raises(DatasetRefused) as refused:
            read(table, tmp_path)
        assert "is more than 10,000; 2 to 10,000 are allowed" in refused.value.faults[0].detail
    else:
        assert len(read(table, tmp_path)[0].info.classes) == classes
