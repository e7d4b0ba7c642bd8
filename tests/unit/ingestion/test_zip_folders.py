"""Test that parts, classes and names are told from the folders and the names of a zip."""

import io
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from api.ingestion.archives.parts import find_part
from api.ingestion.dataset_upload import ingest_dataset
from api.ingestion.result import ParsedDataset, TableOptions
from shared.errors import DatasetRefused
from shared.preprocessing.image_decoder import ImageDecoder
from tests.support.uploads import flat, make_upload_limits, zipped

LIMITS = make_upload_limits()
DECODER = ImageDecoder(LIMITS.images, processes=0)
Members = dict[str | zipfile.ZipInfo, bytes]


def make_images(*folders: str, count: int = 2) -> Members:
    """Return `count` images for each folder, all different."""
    return {
        f"{folder}/{number}.png": flat((10 * index, 20 * number, 99))
        for index, folder in enumerate(folders)
        for number in range(count)
    }


def ingest(content: bytes, folder: Path, **options: Any) -> ParsedDataset:
    return ingest_dataset(io.BytesIO(content), TableOptions(**options), LIMITS, DECODER, folder)


def read_refusal(content: bytes, folder: Path, **options: Any) -> str:
    with pytest.raises(DatasetRefused) as refused:
        ingest(content, folder, **options)
    return "\n".join(f"{fault.pointer} {fault.detail}" for fault in refused.value.faults)


def test_a_file_with_the_name_of_the_common_folder_is_ignored(tmp_path: Path) -> None:
    members = make_images("data/cat", "data/dog")
    for beside in ("data", "readme"):
        found = ingest(zipped({beside: b"text", **members}), tmp_path)
        assert (found.info.train_rows > 0, beside in found.ignored) == (True, True)


@pytest.mark.parametrize(
    ("folder", "part"),
    [
        ("train", "train"),
        ("Training", "train"),
        ("training_set", "train"),
        ("train-images", "train"),
        ("seg_train", "train"),
        ("TrainData", "train"),
        ("dataset_train", "train"),
        ("학습", "train"),
        ("훈련데이터", "train"),
        ("val", "validation"),
        ("valid", "validation"),
        ("validation_set", "validation"),
        ("검증용", "validation"),
        ("test_set", "test"),
        ("Testing", "test"),
        ("seg_test", "test"),
        ("test2", "test"),
        ("테스트", "test"),
        ("seg_pred", "unlabeled"),
        ("cats", None),
        ("trainer", None),
        ("valley", None),
        ("contest", None),
        ("test tube", None),
        ("train station", None),
        ("images", None),
    ],
)
def test_the_part_of_a_folder_is_told_by_its_name(folder: str, part: str | None) -> None:
    assert find_part(folder) == part


@pytest.mark.parametrize(
    ("folders", "rows"),
    [
        (("train", "valid", "test"), (4, 4, 4)),
        (("data/training_set", "data/test_set"), (4, 0, 4)),
        (("Training", "Testing"), (4, 0, 4)),
        (("seg_train/seg_train", "seg_test/seg_test"), (4, 0, 4)),
        (("train", "val"), (4, 4, 0)),
    ],
)
def test_folders_of_parts_are_no_classes(tmp_path: Path, folders: tuple[str, ...], rows: tuple[int, int, int]) -> None:
    names = [f"{folder}/{label}" for folder in folders for label in ("cats", "dogs")]

    info = ingest(zipped(make_images(*names)), tmp_path).info

    assert info.classes == ("cats", "dogs")
    assert (info.train_rows, info.validation_rows, info.test_rows) == rows
    assert info.validation_class_rows == ((2, 2) if rows[1] else ())
    with np.load(tmp_path / "index.npz") as index:
        assert index["y"].tolist() == [0, 0, 1, 1] * (sum(rows) // 4)


@pytest.mark.parametrize("folders", [("bus", "car", "train"), ("data/test", "data/exam"), ("val", "hill")])
def test_a_folder_of_images_beside_others_is_a_class_whatever_its_name(
    tmp_path: Path, folders: tuple[str, ...]
) -> None:
    info = ingest(zipped(make_images(*folders)), tmp_path).info

    assert info.classes == tuple(sorted(folder.rpartition("/")[2] for folder in folders))


@pytest.mark.parametrize(
    ("folders", "words"),
    [
        (("val/a", "val/b", "test/a", "test/b"), "no training part"),
        (("train", "test"), "there are no class folders in them"),
        (("train/a", "train/b", "training/a"), "are all the part `train`"),
        (("train/a", "train/b", "val/c"), "The class 'c' has images under `validation` and none under `train`"),
    ],
)
def test_parts_that_do_not_fit_are_refused(tmp_path: Path, folders: tuple[str, ...], words: str) -> None:
    assert words in read_refusal(zipped(make_images(*folders)), tmp_path)


def test_a_folder_of_images_without_classes_is_left_out_with_a_warning(tmp_path: Path) -> None:
    members = make_images("seg_train/a", "seg_train/b", "seg_pred/seg_pred")

    ingested = ingest(zipped(members), tmp_path)

    assert ingested.info.classes == ("a", "b")
    assert ingested.warnings == ("2 images lie in a folder whose images have no class. They were left out.",)


def zip_with_names(names: list[bytes], extra: dict[bytes, bytes] | None = None) -> bytes:
    """Return a zip whose members have these bytes as names, without the flag of UTF-8."""
    members: Members = {}
    swapped = {}
    for number, name in enumerate(names):
        place = (b"q%dz" % number).ljust(len(name), b"z")
        info = zipfile.ZipInfo(place.decode())
        info.extra = (extra or {}).get(name, b"")
        members[info] = flat((number, 50, 50))
        swapped[place] = name
    content = zipped(members)
    for place, name in swapped.items():
        content = content.replace(place, name)
    return content


@pytest.mark.parametrize(
    ("classes", "encoding"),
    [
        (("강아지", "고양이"), "cp949"),
        (("犬の写真", "猫の写真"), "shift_jis"),
        (("Käfer", "größe"), "cp437"),
        (("Käfer", "Élan"), "cp1252"),
        (("강아지", "고양이"), "utf-8"),
    ],
)
def test_names_in_the_encoding_of_a_country_are_read(tmp_path: Path, classes: tuple[str, ...], encoding: str) -> None:
    names = [f"images/{label}/image-number-{n}.png".encode(encoding) for label in classes for n in range(2)]
    content = zip_with_names(names)

    guessed = ingest(content, tmp_path)
    stated = ingest(content, tmp_path, encoding=encoding)

    assert guessed.info.classes == stated.info.classes == tuple(sorted(classes))
    assert stated.warnings == ()
    assert ["which was guessed" in warning for warning in guessed.warnings] == ([True] if encoding != "utf-8" else [])


def test_names_whose_encoding_cannot_be_told_are_refused(tmp_path: Path) -> None:
    names = [f"{label}/image-number-1.png".encode("cp1251") for label in ("кошка", "собака")]

    assert "send the field `encoding`" in read_refusal(zip_with_names(names), tmp_path)
    assert ingest(zip_with_names(names), tmp_path, encoding="cp1251").info.classes == ("кошка", "собака")
    assert "names in the zip are not utf-8" in read_refusal(zip_with_names(names), tmp_path, encoding="utf-8")


def test_the_unicode_path_of_a_member_is_its_name(tmp_path: Path) -> None:
    names = {f"{number}?????/image.png".encode(): f"강아지{number}/image.png" for number in range(2)}
    fields = {}
    for raw, name in names.items():
        content = struct.pack("<BI", 1, zlib.crc32(raw)) + name.encode()
        fields[raw] = struct.pack("<HH", 0x7075, len(content)) + content

    ingested = ingest(zip_with_names(list(names), fields), tmp_path)

    assert ingested.info.classes == ("강아지0", "강아지1")


def test_a_unicode_path_of_another_name_is_ignored(tmp_path: Path) -> None:
    content = struct.pack("<BI", 1, 7) + b"x/1.png"
    field = struct.pack("<HH", 0x7075, len(content)) + content
    names = [b"red00/image.png", b"blue0/image.png"]

    ingested = ingest(zip_with_names(names, dict.fromkeys(names, field)), tmp_path)

    assert ingested.info.classes == ("blue0", "red00")


def flat_zip(table: str, name: str = "labels.csv") -> bytes:
    return zipped({**make_images("images", count=4), name: table.encode()})


@pytest.mark.parametrize(
    "table",
    [
        "file,label\n0.png,cat\n1.png,dog\n2.png,cat\n3.png,dog\n",
        "id,breed\n0,cat\n1,dog\n2,cat\n3,dog\n",
        "images/0.png;cat\nimages/1.png;dog\nimages/2.png;cat\nimages/3.png;dog\n",
        "label,width,file\ncat,3,0.png\ndog,4,1.png\ncat,5,2.png\ndog,4,3.png\n",
    ],
    ids=["names", "without ending", "paths without header", "more columns"],
)
def test_a_table_in_the_zip_has_the_labels_of_its_images(tmp_path: Path, table: str) -> None:
    ingested = ingest(flat_zip(table), tmp_path)

    assert ingested.info.classes == ("cat", "dog")
    assert ingested.info.class_rows == ((2, 0), (2, 0))
    assert "labels.csv" in ingested.warnings[0]


def test_images_without_a_row_are_left_out_with_a_warning(tmp_path: Path) -> None:
    ingested = ingest(flat_zip("file,label\n0.png,cat\n1.png,dog\n"), tmp_path)

    assert ingested.ignored == ("images/2.png", "images/3.png")
    assert ingested.warnings[1] == "2 images have no row in 'labels.csv'. They were left out."


@pytest.mark.parametrize(
    ("table", "options", "words"),
    [
        ("file,label\n0.png,cat\n9.png,dog\n1.png,dog\n", {}, "row 2: its image is not in the zip"),
        ("file,label\n0.png,cat\n1.png,\n", {}, "row 2: its label is empty"),
        ("file,label\n0.png,cat\n0.png,dog\n1.png,dog\n", {}, "has another label above"),
        ("file,label\n0.png,cat\n1.png,cat\n", {}, "has 1 class"),
        ("file,a,b\n0.png,cat,1\n1.png,dog,2\n", {}, "Send the name of one as `label`"),
        ("file,a,b\n0.png,cat,1\n1.png,dog,2\n", {"label": "c"}, "#/label 'labels.csv' has no column 'c'"),
        ("x,label\nq,cat\nr,dog\n", {}, "No column of 'labels.csv' has the names of the images"),
    ],
)
def test_a_table_of_labels_that_does_not_fit_is_refused(
    tmp_path: Path, table: str, options: dict[str, str], words: str
) -> None:
    assert words in read_refusal(flat_zip(table), tmp_path, **options)


def test_the_label_column_of_the_table_is_chosen(tmp_path: Path) -> None:
    table = "file,a,b\n0.png,cat,1\n1.png,dog,2\n2.png,cat,1\n3.png,dog,2\n"

    assert ingest(flat_zip(table), tmp_path, label="a").info.classes == ("cat", "dog")
    assert "`label` is a column of a table" in read_refusal(zipped(make_images("a", "b")), tmp_path, label="a")
