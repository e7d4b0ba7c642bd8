"""Test that tables are read as their senders mean them, and that doubts are told."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from api.ingestion.dataset_upload import ingest_dataset
from api.ingestion.result import ParsedDataset, TableOptions
from shared.datasets.encodings import ColumnEncoding
from shared.errors import DatasetRefused
from shared.preprocessing.image_decoder import ImageDecoder
from tests.support.uploads import make_upload_limits, parquet

LIMITS = make_upload_limits()
DECODER = ImageDecoder(LIMITS.images, processes=0)


def read(content: str | bytes, folder: Path, **options: Any) -> tuple[ParsedDataset, NDArray[Any], NDArray[Any]]:
    data = content if isinstance(content, bytes) else content.encode()
    ingested = ingest_dataset(io.BytesIO(data), TableOptions.model_validate(options), LIMITS, DECODER, folder)
    return ingested, np.load(folder / "x.npy"), np.load(folder / "y.npy")


def read_refusal(content: str | bytes, folder: Path, **options: Any) -> str:
    with pytest.raises(DatasetRefused) as refused:
        read(content, folder, **options)
    return "\n".join(f"{fault.pointer} {fault.detail}" for fault in refused.value.faults)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\tb\ty\n15,000\t59.15\tu\n150\t1.5\tv\n", [[15000, 59.15], [150, 1.5]]),
        ("a;b;y\n55.185;48,49;u\n1.000;0,5;v\n", [[55185, 48.49], [1000, 0.5]]),
        ("a;b;y\n1.234.567;4;u\n5;6;v\n", [[1234567, 4], [5, 6]]),
        ('a,b,y\n"15,000",2,u\n150,3,v\n', [[15000, 2], [150, 3]]),
        ('a,b,y\n"1,234.5",2,u\n7,3,v\n', [[1234.5, 2], [7, 3]]),
        ("a\tb\ty\n15,000\t2\tu\n150\t3\tv\n", [[15000, 2], [150, 3]]),
        ("a;b;y\n0,123;2;u\n1,250;3;v\n", [[0.123, 2], [1.25, 3]]),
        ("a;b;y\n12,345;2;u\n13,500;3;v\n", [[12.345, 2], [13.5, 3]]),
        ("a;b;y\n12 345;2;u\n1\u00a0000,5;3;v\n", [[12345, 2], [1000.5, 3]]),
        ("a;b;y\n12'345;2.5;u\n1'000.5;3;v\n", [[12345, 2.5], [1000.5, 3]]),
        ("a|b|y\n1.5|2|u\n2,500|3|v\n", [[1.5, 2], [2500, 3]]),
    ],
)
def test_thousands_and_decimal_marks_are_told_apart_by_the_file(
    tmp_path: Path, text: str, expected: list[list[float]]
) -> None:
    _, x, _ = read(text, tmp_path)

    assert np.allclose(x, expected)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a\tb\ty\n15,000\t2\tu\n16,500\t3\tv\n", "Column 'a': '15,000' can be thousands or a fraction"),
        ("a;b;y\n15,000;2;u\n150;3;v\n", "Column 'a': '15,000' can be thousands or a fraction"),
        ("a;b;y\n1,5;2;u\n2;3.75;v\n", "'3.75' is not a number here: the file has decimal commas"),
        ("a;b;y\n1.5;2;u\n2;3,75;v\n", "'3,75' is not a number here: the file has decimal points"),
    ],
)
def test_marks_that_contradict_are_refused(tmp_path: Path, text: str, words: str) -> None:
    assert words in read_refusal(text, tmp_path)


def test_points_that_can_separate_thousands_are_told(tmp_path: Path) -> None:
    ingested, x, _ = read("a;b;y\n15.000;2;u\n150;3;v\n", tmp_path)

    assert x[0, 0] == 15
    assert ingested.warnings == ("Column 'a': '15.000' was read as 15. If the mark separates thousands, remove it.",)


@pytest.mark.parametrize(
    ("first", "rows"),
    [
        ("0,1,2,3", ["5.1,3.5,1.4,a", "4.9,3.0,1.3,b"]),
        ("0,1,2", ["5.1,3.5,0", "4.9,3.0,1"]),
        ("1990,1995,2000,region", ["5.1,3.5,1.4,a", "4.9,3.0,1.3,b", "4.7,2.0,1.3,b"]),
        ("2019,2020,2021", ["17,3,0", "16,4,1"]),
        ("400,402,404,406,kind", ["0.1,0.2,0.3,0.4,a", "0.5,0.1,0.3,0.2,b"]),
        ("0,1,2,3,4,5,6,7,8", ["0,12,250,9,0,0,3,1,0", "0,11,251,9,0,0,7,2,1"]),
    ],
)
def test_a_first_row_of_numbers_is_a_header_if_they_are_names(tmp_path: Path, first: str, rows: list[str]) -> None:
    ingested, x, _ = read("\n".join([first, *rows]), tmp_path)

    assert len(x) == len(rows)
    assert [*ingested.columns, ingested.label] == first.split(",")
    assert "was read as names" in ingested.warnings[0]


@pytest.mark.parametrize(
    "text",
    [
        "1,2\n2,2.5\n3,3.5\n",
        "0,0,0\n0,1,1\n1,0,1\n1,1,0\n",
        "1,2,3,a\n4,5,6,b\n7,8,9,b\n",
        "1,2,3\n1.5,2.5,4\n2,3,5.5\n",
        "5.1,3.5,1.4,0.2,setosa\n4.9,3.0,1.4,0.2,setosa\n6.9,3.0,5.4,1.2,other\n",
        "6,148,72,35,1\n1,85,66,29,0\n",
        "2001,2002,1\n2003,2004,0\n",
    ],
)
def test_a_first_row_of_data_is_no_header(tmp_path: Path, text: str) -> None:
    _, x, _ = read(text, tmp_path)

    assert len(x) == len(text.splitlines())


@pytest.mark.parametrize(
    "text",
    [
        ",a,y\n0,5,u\n1,6,v\n2,7,u\n3,8,v\n4,9,u\n",
        '"","a","y"\n"1",5,"u"\n"2",6,"v"\n"3",7,"u"\n"4",8,"v"\n"5",9,"u"\n',
        '"a" "y"\n"1" 5 "u"\n'.replace(" ", ";") + '"2";6;"v"\n"3";7;"u"\n"4";8;"v"\n"5";9;"u"\n',
        "Unnamed: 0,a,y\n0,5,u\n1,6,v\n2,7,u\n3,8,v\n4,9,u\n",
        ",a,y\nx1,5,u\nx2,6,v\nx3,7,u\nx4,8,v\nx5,9,u\n",
        "a,y,\n5,u,\n6,v,\n7,u,\n8,v,\n9,u,\n",
    ],
    ids=["pandas", "R csv", "R table", "pandas twice", "row names", "trailing comma"],
)
def test_a_column_without_a_name_that_is_no_data_is_left_out_with_a_warning(tmp_path: Path, text: str) -> None:
    ingested, x, _ = read(text, tmp_path)

    assert (ingested.columns, ingested.label) == (("a",), "y")
    assert x.ravel().tolist() == [5, 6, 7, 8, 9]
    assert "It was left out" in ingested.warnings[0]


def test_a_named_column_that_counts_the_rows_is_told(tmp_path: Path) -> None:
    ingested, _, _ = read("id,a,y\n1,5,u\n2,6,v\n3,7,u\n4,8,v\n5,9,u\n6,9,u\n", tmp_path)

    assert ingested.columns == ("id", "a")
    assert ingested.warnings == ("The first column, 'id', counts the rows. If it is no input, send `leave_out=id`.",)


def test_a_label_that_never_changes_is_refused_and_another_is_named(tmp_path: Path) -> None:
    refusal = read_refusal("label,p0,p1\n3,0,0\n4,9,0\n", tmp_path)

    assert "'p1' has the same value in all rows" in refusal
    assert "A column is called 'label': send `label=label`" in refusal


def test_a_last_column_beside_one_called_label_is_told(tmp_path: Path) -> None:
    told, _, _ = read("label,p0,p1\n3,0,0\n4,9,1\n", tmp_path)
    chosen, _, _ = read("label,p0,p1\n3,0,0\n4,9,1\n", tmp_path, label="label")

    assert "A column is called 'label'" in told.warnings[0]
    assert (chosen.label, chosen.warnings) == ("label", ())


@pytest.mark.parametrize(
    ("text", "encoding", "guess"),
    [
        ("이름,키,성별\n1,2,남\n3,4,여\n", "cp949", "cp949"),
        ("Länge,Höhe,Art\n1,2,Käfer\n3,4,Ameise\n", "cp1252", "cp1252"),
        ("長さ,幅,種類\n1,2,犬\n3,4,猫\n", "shift_jis", "cp932"),
        ("长,宽,类\n1,2,狗\n3,4,猫\n", "gb18030", None),
    ],
)
def test_other_encodings_are_read_if_stated_or_if_they_can_be_told(
    tmp_path: Path, text: str, encoding: str, guess: str | None
) -> None:
    data = text.encode(encoding)
    header = text.splitlines()[0].split(",")

    stated, _, _ = read(data, tmp_path, encoding=encoding)

    assert [*stated.columns, stated.label] == header
    assert stated.warnings == ()
    if guess is not None:
        guessed, _, _ = read(data, tmp_path)
        assert [*guessed.columns, guessed.label, *guessed.info.classes] == [*header, *stated.info.classes]
        assert f"read as {guess}, which was guessed" in guessed.warnings[0]
    else:
        assert "send the field `encoding`" in read_refusal(data, tmp_path)


def test_an_unknown_encoding_is_refused(tmp_path: Path) -> None:
    assert "#/encoding 'rot13' is no encoding" in read_refusal("a,y\n1,0\n2,1\n", tmp_path, encoding="rot13")
    assert "not text in cp949" in read_refusal("a,y\n1,é\n2,1\n".encode(), tmp_path, encoding="ascii").replace(
        "ascii", "cp949"
    )


@pytest.mark.parametrize("text", ["sep=;\na;b;y\n1,5;2;0\n2;3;1\n", "sep=\t\r\na\tb\ty\r\n1.5\t2\t0\r\n2\t3\t1\r\n"])
def test_the_line_of_excel_names_the_delimiter(tmp_path: Path, text: str) -> None:
    ingested, x, _ = read(text, tmp_path)

    assert ingested.columns == ("a", "b")
    assert x.tolist() == [[1.5, 2], [2, 3]]


def test_a_cell_may_be_longer_than_the_limit_of_the_csv_module(tmp_path: Path) -> None:
    rows = "\n".join(",".join(["1.25"] * 40_000) + f",{row % 2}" for row in range(3))

    _, x, _ = read(rows, tmp_path)

    assert x.shape == (3, 40_000)


def test_words_for_zero_and_one_are_numbers(tmp_path: Path) -> None:
    ingested, x, _ = read("a,b,y\nTrue,yes,u\nFalse,No,v\ntrue,YES,u\n", tmp_path)

    assert x.tolist() == [[1, 1], [0, 0], [1, 1]]
    assert ingested.info.encodings == (
        ColumnEncoding("a", words=("false", "true")),
        ColumnEncoding("b", words=("no", "yes")),
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,y\nyes,u\nno,u\nmaybe,v\n", "'maybe' is neither 'no' nor 'yes'"),
        ("a,y\n1,u\nyes,v\n", "'yes' is not a number"),
        ("sex,y\nmale,0\nfemale,1\n", 'send `columns` as {"sex": "one-hot"}'),
        ("age,y\n,u\n3,v\n", '{"age": {"fill": "median"}}'),
    ],
)
def test_words_among_numbers_are_refused_with_the_remedy(tmp_path: Path, text: str, words: str) -> None:
    assert words in read_refusal(text, tmp_path)


TITANIC = "sex,age,class,survived\nmale,22,3,no\nfemale,38,1,yes\nfemale,,2,yes\nmale,35,3,no\n,30,3,no\n"


def test_categories_and_missing_values_become_numbers(tmp_path: Path) -> None:
    ingested, x, _ = read(
        TITANIC,
        tmp_path,
        columns={"sex": {"encode": "one-hot", "fill": "most-frequent"}, "age": {"fill": "median"}, "class": "one-hot"},
    )

    assert x.tolist() == [
        [0, 1, 22, 0, 0, 1],
        [1, 0, 38, 1, 0, 0],
        [1, 0, 32.5, 0, 1, 0],
        [0, 1, 35, 0, 0, 1],
        [1, 0, 30, 0, 0, 1],
    ]
    assert ingested.columns == ("sex", "age", "class")
    assert ingested.info.shape == (6,)
    assert ingested.info.encodings == (
        ColumnEncoding("sex", categories=("female", "male"), fill="female"),
        ColumnEncoding("age", fill=32.5),
        ColumnEncoding("class", categories=("1", "2", "3")),
    )


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"name": "one-hot"}, "#/columns There is no column 'name'"),
        ({"survived": "one-hot"}, "#/columns/survived The column is no input"),
        ({"age": {"fill": "young"}}, "#/columns/age `fill` is 'young'"),
        ({"sex": {"encode": "one-hot", "fill": "other"}}, "#/columns/sex `fill` is 'other', which is no category"),
    ],
)
def test_options_of_columns_that_do_not_fit_are_refused(tmp_path: Path, columns: Any, words: str) -> None:
    assert words in read_refusal(TITANIC, tmp_path, columns=columns)


def test_parquet_is_the_table_of_its_csv(tmp_path: Path) -> None:
    content = parquet(a=np.array([1.5, 2.5, 3.5]), b=np.array([1, 2, 3]), kind=[b"u", b"v", b"u"])

    ingested, x, y = read(content, tmp_path)

    assert (ingested.columns, ingested.label, ingested.info.classes) == (("a", "b"), "kind", ("u", "v"))
    assert (x.tolist(), y.tolist()) == ([[1.5, 1], [2.5, 2], [3.5, 3]], [0, 1, 0])
    assert "#/encoding `encoding` is an option for a CSV" in read_refusal(content, tmp_path, encoding="utf-8")
    assert "cannot be read" in read_refusal(content[:-20], tmp_path)


@pytest.mark.parametrize(
    ("start", "words"),
    [
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", ".xls"),
        (b"\x80\x04\x95\x00", "a pickle"),
        (b"\x00\x00\x08\x03\x00\x00\xea\x60", "an IDX file"),
        (b'{"a": 1}', "JSON"),
        (b'[{"a": 1}]', "JSON"),
        (bytes(257) + b"ustar\x0000", "a tar archive"),
        (b"% comment\n@RELATION iris\n", "ARFF"),
        (b"\x1f\x8b\x08", "a gzip file"),
        (b"<!DOCTYPE html>", "HTML"),
    ],
)
def test_files_of_other_kinds_are_named(tmp_path: Path, start: bytes, words: str) -> None:
    assert words in read_refusal(start, tmp_path)


def test_two_rows_with_r_names_leave_them_out(tmp_path: Path) -> None:
    ingested, _, _ = read(b'"","a","y"\n"1",3,"p"\n"2",4,"q"\n', tmp_path)

    assert ingested.columns == ("a",)
    assert "has no name" in ingested.warnings[0]


def test_a_column_that_is_named_twice_is_refused(tmp_path: Path) -> None:
    options = {"a": {"fill": 1}, "0": "one-hot"}

    assert "#/columns Two keys" in read_refusal("a,y\n1,p\n2,q\n", tmp_path, columns=options)


@pytest.mark.parametrize(
    ("text", "options", "remedy"),
    [
        ("a,y\nx,p\n,q\n", {"columns": {"a": "one-hot"}}, '{"a": {"encode": "one-hot", "fill": "most-frequent"}}'),
        ("a,y\nx,p\n,q\n", {"columns": {"a": {"fill": "median"}}}, '{"a": {"encode": "one-hot"'),
        ("a,y\n1,p\n,q\n", {}, '{"a": {"fill": "median"}}'),
        ("a,w,y\n1,1,p\n2,,q\n", {"weight": "w"}, "Fill in the cells, or remove the rows."),
    ],
)
def test_missing_values_name_the_options_that_fill_them(
    tmp_path: Path, text: str, options: dict[str, Any], remedy: str
) -> None:
    assert remedy in read_refusal(text, tmp_path, **options)
