"""Test that npz files with x and y are ingested."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from api.ingestion.npz_files import ingest_npz
from api.ingestion.prediction_upload import ingest_prediction_inputs
from api.ingestion.result import ParsedDataset, UploadLimits
from shared.datasets.info import TargetKind
from shared.errors import DatasetRefused
from shared.preprocessing.contract import NumbersContract
from shared.preprocessing.normalisation import Normalisation
from shared.spec.preprocessing import Scale
from tests.support.uploads import make_upload_limits, npz, zipped

LIMITS = make_upload_limits()
IMAGES = np.arange(4 * 6 * 5, dtype=np.uint8).reshape(4, 6, 5)
LABELS = np.array([0, 1, 1, 2])


def ingest(content: bytes, folder: Path, limits: UploadLimits = LIMITS) -> ParsedDataset:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return ingest_npz(archive, limits, folder)


def ingest_fault_detail(content: bytes, folder: Path, limits: UploadLimits = LIMITS) -> str:
    with pytest.raises(DatasetRefused) as refused:
        ingest(content, folder, limits)
    return refused.value.faults[0].detail


def test_uint8_arrays_of_three_dimensions_are_gray_images(tmp_path: Path) -> None:
    ingested = ingest(npz(x=IMAGES, y=LABELS), tmp_path)

    assert ingested.info.images
    assert ingested.info.shape == (6, 5, 1)
    assert np.array_equal(np.load(tmp_path / "x.npy")[..., 0], IMAGES)
    assert (ingested.info.targets, ingested.info.classes) == (TargetKind.INTEGERS, ("0", "1", "2"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.npy", "y.npy"]


def test_train_and_test_arrays_become_the_parts(tmp_path: Path) -> None:
    ingested = ingest(npz(x_train=IMAGES, y_train=LABELS, x_test=IMAGES[:2], y_test=LABELS[:2, None][:, 0]), tmp_path)

    assert (ingested.info.train_rows, ingested.info.test_rows, ingested.info.own_test) == (4, 2, True)
    assert ingested.info.class_rows == ((1, 1), (2, 1), (1, 0))


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int32, np.bool_, ">f4"])
def test_arrays_of_other_dtypes_are_stored_as_float32(tmp_path: Path, dtype: str) -> None:
    x = np.array([[1, 0, 1], [0, 1, 1]]).astype(dtype)

    ingested = ingest(npz(x=x, y=[0.5, 1]), tmp_path)

    stored = np.load(tmp_path / "x.npy")
    assert stored.dtype == np.float32
    assert np.array_equal(stored, x.astype(np.float32))
    assert ingested.info.targets is TargetKind.NUMBERS


def test_text_labels_and_class_names_become_classes(tmp_path: Path) -> None:
    by_label = ingest(npz(x=IMAGES, y=["cat", "dog", "dog", "ant"]), tmp_path)
    by_number = ingest(npz(x=IMAGES, y=LABELS, classes=["cat", "dog", "ant", "bee"]), tmp_path)

    assert by_label.info.classes == ("ant", "cat", "dog")
    assert by_number.info.classes == ("cat", "dog", "ant", "bee")
    assert by_number.info.class_rows == ((1, 0), (2, 0), (1, 0), (0, 0))


def test_one_hot_labels_are_detected(tmp_path: Path) -> None:
    info = ingest(npz(x=IMAGES, y=np.eye(3)[LABELS]), tmp_path).info

    assert (info.targets, info.target_width) == (TargetKind.ONE_HOT, 3)


class MaliciousPickle:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, ("raise SystemExit('unpickled')",))


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    objects = np.empty(4, object)
    objects[:] = [MaliciousPickle()] * 4

    assert "Python objects" in ingest_fault_detail(npz(x=IMAGES, y=objects), tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (npz(a=IMAGES), "There is no array 'x'; the file contains a."),
        (npz(x=IMAGES), "no array 'y'"),
        (npz(x_train=IMAGES, y_train=LABELS, x_test=IMAGES), "Only one of x_test and y_test"),
        (npz(x=IMAGES, y=LABELS[:3]), "x has 4 rows and y has 3"),
        (npz(x=IMAGES[:0], y=LABELS[:0]), "has the shape (0, 6, 5); at least one row"),
        (npz(x=[["a", "b"]], y=[0]), "Save one text for each row"),
        (npz(x=np.array([1j, 2]), y=[0, 1]), "has the dtype complex128"),
        (npz(x=np.array([[1.0], [np.nan]]), y=[0, 1]), "x, row 1"),
        (npz(x=np.array([[1.0], [2]]), y=[0, np.inf]), "y, row 1"),
        (npz(x=np.zeros((2, 4, 4, 7), np.uint8), y=[0, 1]), "Images of 7 channels"),
        (npz(x=IMAGES, y=LABELS, classes=["a", "b"]), "2 names"),
        (npz(x=IMAGES, y=LABELS, classes=["a", "b", "c" * 101]), "has 101 characters"),
        (npz(x=IMAGES, y=LABELS, classes=["a", "b", "c", "a"]), "'a' occurs 2 times"),
        (npz(x=IMAGES, y=["a", "b", "c", "9" * 5000]), "has 5,000 characters"),
        (npz(x_train=IMAGES, y_train=LABELS, x_test=IMAGES[:, :3], y_test=LABELS), "different shapes"),
        (zipped({"x.npy": b"\x93NUMPY\x01\x00rubbish", "y.npy": b""}), "cannot be read"),
    ],
)
def test_unusable_arrays_are_refused(tmp_path: Path, content: bytes, words: str) -> None:
    assert words in ingest_fault_detail(content, tmp_path)


def test_damaged_class_names_are_refused(tmp_path: Path) -> None:
    names = np.array([f"class {number}" for number in range(5000)])
    content = bytearray(npz(x=IMAGES, y=LABELS, classes=names))
    content[content.index(names.tobytes()[-40:])] ^= 1

    assert "The array 'classes' cannot be read (Bad CRC-32" in ingest_fault_detail(bytes(content), tmp_path)


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x"])
def test_an_array_name_is_not_used_as_a_path(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "upload"
    folder.mkdir()
    contract = NumbersContract(shape=(2,), scale=Scale.NONE, normalisation=Normalisation())
    stream = io.BytesIO(npz(**{name: np.ones((3, 2), np.float32)}))

    ingest_prediction_inputs(stream, contract, (), None, LIMITS, folder)

    assert sorted(tmp_path.rglob("*")) == [folder, folder / "x.npy"]


def test_the_unpacked_size_is_checked_before_unpacking(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, x=np.zeros((1000, 100, 100), np.uint8), y=np.zeros(1000))

    assert "unpack to" in ingest_fault_detail(buffer.getvalue(), tmp_path, make_upload_limits(bytes=2**20))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (make_upload_limits(rows=3), "The array 'x' has 4 rows; the limit is 3 (TRAINYARD_MAX_DATASET_ROWS)"),
        (make_upload_limits(rows=7), "The array 'y' has 8 numbers; the limit is 7"),
        (make_upload_limits(bytes=4 * 5 * 4 - 1 + 2**10), "unpack to"),
    ],
)
def test_rows_and_labels_are_counted_before_unpacking(tmp_path: Path, limits: UploadLimits, words: str) -> None:
    content = npz(x=np.zeros((4, 5), np.float64), y=np.zeros((4, 2)), z=np.zeros(1000))

    assert words in ingest_fault_detail(content, tmp_path, limits)
    assert list(tmp_path.iterdir()) == []


def test_bytes_are_counted_as_they_are_stored(tmp_path: Path) -> None:
    content = npz(x=np.zeros((100, 1000), np.int8), y=np.zeros(100, np.int8))

    assert "As stored, the rows take more than 300,000 bytes" in ingest_fault_detail(
        content, tmp_path, make_upload_limits(bytes=300_000)
    )


def test_a_row_of_too_many_numbers_is_refused(tmp_path: Path) -> None:
    content = npz(x=np.zeros((2, 4_000_001), np.int8), y=np.array([0, 1]))

    assert "A row has 4,000,001 numbers; the limit is 4,000,000" in ingest_fault_detail(content, tmp_path)


def make_npy(header: str) -> bytes:
    """Make an `.npy` file with this header and no values."""
    content = header.encode() + b"\n"
    return b"\x93NUMPY\x02\x00" + len(content).to_bytes(4, "little") + content


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3,",
        "{1: 2, 'a': 3}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (True, 3)}",
    ],
)
def test_a_damaged_header_is_refused(tmp_path: Path, header: str) -> None:
    content = zipped({"x.npy": make_npy(header), "y.npy": make_npy(header)})

    assert ingest_fault_detail(content, tmp_path)


def test_a_header_of_too_many_values_is_refused(tmp_path: Path) -> None:
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (4, " + "9" * 30 + ")}"

    assert ingest_fault_detail(zipped({"x.npy": make_npy(header), "y.npy": make_npy(header)}), tmp_path)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.array([["a", "b"]] * 4), "Save one text for each row"),
        (np.array(["a", "b\ud800"] * 2), "unpaired surrogate"),
        (np.array([""] * 4, dtype="<U0"), "classes"),
    ],
    ids=["columns", "surrogate", "empty"],
)
def test_texts_that_are_no_class_names_are_refused(tmp_path: Path, labels: np.ndarray, words: str) -> None:
    assert words in ingest_fault_detail(npz(x=np.ones((4, 3)), y=labels), tmp_path)
