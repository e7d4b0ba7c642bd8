"""Test that zip files of class folders are ingested from three operating systems, and invalid ones refused."""

import io
import stat
import struct
import unicodedata
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from api.ingestion.archives.members import read_members
from api.ingestion.images.image_folders import ingest_image_folders
from api.ingestion.result import ParsedDataset, TableOptions, UploadLimits
from shared.datasets.row_files import split_lines
from shared.errors import DatasetRefused
from shared.preprocessing.image_decoder import ImageDecoder
from tests.support.images import encoded, photo, png_header
from tests.support.uploads import BLUE, RED, colors, flat, make_upload_limits, zipped

LIMITS = make_upload_limits()
Members = dict[str | zipfile.ZipInfo, bytes]


def ingest(content: bytes, folder: Path, limits: UploadLimits = LIMITS, **options: Any) -> ParsedDataset:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        decoder = ImageDecoder(limits.images, processes=0)
        members, _ = read_members(archive, limits)
        return ingest_image_folders(archive, members, TableOptions(**options), limits, decoder, folder)


def ingest_fault_details(members: Members | bytes, folder: Path, limits: UploadLimits = LIMITS) -> str:
    content = members if isinstance(members, bytes) else zipped(members)
    with pytest.raises(DatasetRefused) as refused:
        ingest(content, folder, limits)
    return "\n".join(fault.detail for fault in refused.value.faults)


def test_folders_become_classes_and_images_are_stored_unchanged(tmp_path: Path) -> None:
    members = colors()

    ingested = ingest(zipped(members), tmp_path)

    assert ingested.info.classes == ("blue", "red")
    assert ingested.info.class_rows == ((6, 0), (6, 0))
    assert ingested.info.shape == (0, 0, 3)
    with np.load(tmp_path / "index.npz") as index:
        offsets, names = index["offsets"], split_lines(index["names"])
    content = (tmp_path / "images.bin").read_bytes()
    for row, name in enumerate(names):
        assert content[offsets[row] : offsets[row + 1]] == members[name]


def test_images_of_one_size_determine_the_shape(tmp_path: Path) -> None:
    members: Members = {f"{kind}/{n}.png": flat(RED) for kind in ("a", "b") for n in range(2)}

    assert ingest(zipped(members), tmp_path).info.shape == (12, 16, 3)


def test_gray_images_give_a_shape_of_one_channel(tmp_path: Path) -> None:
    gray = encoded(np.full((8, 8), 7, np.uint8))

    assert ingest(zipped({"a/1.png": gray, "b/1.png": gray}), tmp_path).info.shape == (8, 8, 1)


def test_gray_and_cmyk_images_are_accepted_among_rgb_images(tmp_path: Path) -> None:
    picture = Image.fromarray(photo())
    members: Members = {
        "a/rgb.jpg": encoded(picture, "JPEG"),
        "a/cmyk.jpg": encoded(picture.convert("CMYK"), "JPEG"),
        "b/gray.jpg": encoded(picture.convert("L"), "JPEG"),
    }

    assert ingest(zipped(members), tmp_path).info.shape == (60, 80, 3)


def test_train_and_test_folders_become_the_parts(tmp_path: Path) -> None:
    members = {**colors(4, "set/train/"), **colors(2, "set/test/")}

    info = ingest(zipped(members), tmp_path).info

    assert (info.train_rows, info.test_rows, info.own_test) == (8, 4, True)
    assert info.class_rows == ((4, 2), (4, 2))


@pytest.mark.parametrize("folder", ["colors/", "my/own/colors/"])
def test_enclosing_folders_do_not_change_the_dataset(tmp_path: Path, folder: str) -> None:
    inner, outer = tmp_path / "inner", tmp_path / "outer"
    inner.mkdir()
    outer.mkdir()

    bare = ingest(zipped(colors()), inner)
    wrapped = ingest(zipped({f"{folder}readme.txt": b"hello", **colors(folder=folder)}), outer)

    assert bare.digest() == wrapped.digest()
    assert wrapped.ignored == (f"{folder}readme.txt",)


def test_the_current_folder_may_be_a_member_of_the_zip(tmp_path: Path) -> None:
    assert ingest(zipped({"./": b"", **colors(folder="./")}), tmp_path).info.classes == ("blue", "red")


def test_nested_folders_belong_to_their_class(tmp_path: Path) -> None:
    members: Members = {"a/x/1.png": flat(RED), "a/2.png": flat(RED), "b/y/z/3.png": flat(BLUE)}

    assert ingest(zipped(members), tmp_path).info.class_rows == ((2, 0), (1, 0))


def test_the_order_of_members_does_not_change_the_dataset(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()

    assert (
        ingest(zipped(colors()), first).digest()
        == ingest(zipped(dict(reversed(list(colors().items())))), second).digest()
    )


def test_metadata_files_of_operating_systems_are_ignored(tmp_path: Path) -> None:
    junk = ["__MACOSX/red/._0.png", "red/.DS_Store", ".DS_Store", "blue/Thumbs.db", "desktop.ini", ".git/config"]

    ingested = ingest(zipped({**colors(), **dict.fromkeys(junk, b"junk")}), tmp_path)

    assert set(ingested.ignored) == set(junk)
    assert ingested.info.classes == ("blue", "red")


def test_windows_separators_and_non_ascii_names_are_read(tmp_path: Path) -> None:
    members: Members = {"größe\\1.png": flat(RED), "größe\\2.png": flat(BLUE), "日本\\ü.png": flat(RED)}

    assert ingest(zipped(members), tmp_path).info.classes == ("größe", "日本")


class MacOsZipInfo(zipfile.ZipInfo):
    """A zip member whose name is stored as macOS does: UTF-8 in NFD form, without the UTF-8 flag."""

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:  # noqa: N802 - overrides a method of zipfile
        return unicodedata.normalize("NFD", self.filename).encode(), 0


def test_member_names_written_by_macos_are_read(tmp_path: Path) -> None:
    ingested = ingest(zipped({MacOsZipInfo("größe/1.png"): flat(RED), "b/1.png": flat(BLUE)}), tmp_path)

    assert ingested.info.classes == ("b", "größe")


def make_symlink(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"../red/evil.png": flat(RED)}, "'../red/evil.png': the path leads out"),
        ({"/etc/passwd": b"x"}, "'/etc/passwd': the path leads out"),
        ({"C:\\red\\evil.png": flat(RED)}, "the path leads out"),
        ({"red/../../evil.png": flat(RED)}, "the path leads out"),
        ({make_symlink("red/link.png"): b"/etc/passwd"}, "'red/link.png': the member is a symbolic link"),
        ({"red/broken.png": flat(RED)[:60]}, "red/broken.png: "),
        ({"red/notes.txt": b"hello"}, "red/notes.txt: not an image"),
        ({"red/bomb.png": png_header(60_000, 60_000)}, "red/bomb.png: an image of 60,000 × 60,000 pixels"),
        ({"red/empty.png": b""}, "red/empty.png: empty"),
        ({"loose.png": flat(RED)}, "'loose.png' is in no class folder"),
        ({"green/": b""}, "'green' has no image"),
        ({"green/.DS_Store": b""}, "'green' has no image"),
        ({"train/red/1.png": flat(RED)}, "is next to 'train'"),
        ({"red/large.png": b"x" * (2**20 + 1)}, "red/large.png: an image of 1,048,577 bytes"),
        ({"red/a\nb.png": flat(RED)}, "control characters"),
        ({"x" * 120 + "/1.png": flat(RED)}, "has 120 characters; the limit is 100"),
    ],
)
def test_an_invalid_member_is_refused_by_name(tmp_path: Path, extra: Members, words: str) -> None:
    assert words in ingest_fault_details({**colors(), **extra}, tmp_path)


def test_at_most_twenty_unreadable_images_are_listed(tmp_path: Path) -> None:
    broken: Members = {f"red/broken{number:02}.png": b"no image" for number in range(25)}

    with pytest.raises(DatasetRefused) as refused:
        ingest(zipped({**colors(), **broken}), tmp_path)

    assert [fault.detail.partition(":")[0] for fault in refused.value.faults] == [
        f"red/broken{number:02}.png" for number in range(20)
    ]
    assert "5 more" in refused.value.detail


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_name_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in ("a/1.png", "a/1.png", "b/1.png"):
            archive.writestr(name, flat(RED))

    assert "'a/1.png' occurs 2 times" in ingest_fault_details(buffer.getvalue(), tmp_path)


def test_a_test_class_without_training_images_is_refused(tmp_path: Path) -> None:
    members = {**colors(2, "train/"), "test/green/1.png": flat(RED)}

    assert "'green' has images under `test` and none under `train`" in ingest_fault_details(members, tmp_path)


@pytest.mark.parametrize("members", [{}, {"a/1.png": flat(RED)}, {"readme.md": b""}])
def test_fewer_than_two_classes_are_refused(tmp_path: Path, members: Members) -> None:
    assert "at least two are needed" in ingest_fault_details(members, tmp_path)


@pytest.mark.parametrize("limits", [make_upload_limits(files=5), make_upload_limits(bytes=500)])
def test_limits_are_checked_before_unpacking(tmp_path: Path, limits: UploadLimits) -> None:
    assert "the limit is" in ingest_fault_details(colors(), tmp_path, limits)
    assert list(tmp_path.iterdir()) == []


def test_a_member_larger_than_its_declared_size_is_refused(tmp_path: Path) -> None:
    size = len(flat(RED))
    true_sizes, false_sizes = (struct.pack("<II", size, said) for said in (size, size - 10))
    content = zipped({"a/1.png": flat(RED), "b/1.png": flat(BLUE)})

    assert "a/1.png: the member cannot be unpacked" in ingest_fault_details(
        content.replace(true_sizes, false_sizes), tmp_path
    )


def test_more_than_ten_thousand_class_folders_are_refused(tmp_path: Path) -> None:
    picture = flat(RED)
    members: Members = {f"class {index}/1.png": picture for index in range(10_001)}

    assert "There are 10,001 classes; the limit is 10,000" in ingest_fault_details(
        members, tmp_path, make_upload_limits(files=20_000)
    )
