"""Load the built-in data sets: from the scikit-learn package, from a folder of `.npz` files, or texts from here."""

import csv
import socket
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from shared.datasets.info import DatasetInfo, TargetKind
from shared.datasets.row_files import TextRows
from shared.errors import DatasetUnavailable

DIGIT_CLASSES = tuple("0123456789")
FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
FETCH_TIMEOUT_SECONDS = 60.0
TEXTS = Path(__file__).with_name("texts")
SENTIMENTS = ("negative", "positive")
TEST_STEP = 5
"""Every fifth text is a test row."""
SAMPLES = Path(__file__).with_name("samples.npz")
"""Some rows of each data set, to look at: the API has neither scikit-learn nor the downloads."""

Arrays = dict[str, Any]
"""x_train, y_train, x_test, y_test. Also `place`, if the data has no test part and it was split here.

All are arrays, but `x_train` and `x_test` of texts are TextRows.
"""


@dataclass(frozen=True)
class BuiltinDataset:
    """A built-in data set.

    Attributes:
        info: description of the data set.
        read: loads the arrays. Its arguments are the name, the info and the folder of `.npz` files. Raises
            DatasetUnavailable.
    """

    info: DatasetInfo
    read: Callable[[str, DatasetInfo, Path], Arrays]


def _read_from_scikit_learn(name: str, info: DatasetInfo, _: Path) -> Arrays:
    """Load a data set of scikit-learn, and split off a fixed fifth of its rows as the test part.

    `place` is the position of each row in the order of scikit-learn, first of the training rows, then of the test rows.
    """
    from sklearn import datasets  # heavy, and the API never loads these data sets
    from sklearn.model_selection import train_test_split

    bunch = getattr(datasets, f"load_{name}")()
    if info.images:  # gray levels of digits, from 0 to 16: scale to 255
        x = np.round(bunch.images * (255 / 16)).astype(np.uint8)[..., np.newaxis]
    else:
        x = bunch.data.astype(np.float32)
    y = bunch.target.astype(np.int64)
    train, test = train_test_split(np.arange(len(x)), test_size=info.test_rows, random_state=0, stratify=y)
    index = np.concatenate([train, test])
    return {"x_train": x[train], "y_train": y[train], "x_test": x[test], "y_test": y[test], "place": index}


def _read_from_folder(name: str, info: DatasetInfo, folder: Path) -> Arrays:
    path = folder / f"{name}.npz"
    if not _exists(path):
        _fetch(name, path)
    arrays = _open_npz(path)
    for part, rows in (("train", info.train_rows), ("test", info.test_rows)):
        x, y = arrays[f"x_{part}"], arrays[f"y_{part}"]
        if x.dtype != np.uint8 or len(x) != rows or x[0].size != np.prod(info.shape) or y.size != rows:
            raise DatasetUnavailable(
                f"{path} does not contain {name}. Delete the file: the next job downloads it again."
            )
        arrays[f"x_{part}"] = x.reshape(rows, *info.shape)
        arrays[f"y_{part}"] = y.reshape(rows).astype(np.int64)
    return arrays


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:  # no permission to search the folder
        raise DatasetUnavailable(
            f"{path} cannot be read ({error}). Give the worker permission to read the folder."
        ) from error


@dataclass(frozen=True)
class Samples:
    """Rows of a built-in data set, to look at.

    Attributes:
        x: training rows, then test rows.
        y: their class indices, (n,) int64.
        train_rows: how many are training rows.
    """

    x: NDArray[Any] | TextRows
    y: NDArray[np.int64]
    train_rows: int


def read_samples(name: str) -> Samples:
    """Return rows of a built-in data set; reads no other file than that of the samples.

    Of images, they are the first 40 training rows in the order of the data set, further ones up to 6 of each class, and
    the first 16 test rows. Of tables and of texts, they are all rows.
    """
    if BUILTIN_DATASETS[name].info.texts:
        texts, y, is_test = _read_text_file(name)
        order = np.argsort(is_test, kind="stable")
        return Samples(texts.select(order), y[order], int((~is_test).sum()))
    with np.load(SAMPLES, allow_pickle=False) as archive:
        train, test = ((archive[f"{name}_x{part}"], archive[f"{name}_y{part}"]) for part in ("", "_test"))
    return Samples(np.concatenate([train[0], test[0]]), np.concatenate([train[1], test[1]]), len(train[1]))


def _open_npz(path: Path) -> Arrays:
    """Read the four arrays. Replaces a compressed file by an uncompressed one, which takes a third of the time."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in ("x_train", "y_train", "x_test", "y_test")}
            is_compressed = any(member.compress_type != zipfile.ZIP_STORED for member in archive.zip.infolist())
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DatasetUnavailable(
            f"{path} cannot be read ({error}). Delete the file: the next job downloads it again."
        ) from error
    if is_compressed:
        with suppress(OSError, Timeout), FileLock(f"{path}.lock", timeout=0):  # another job does it, or nobody can
            _write_npz(path, arrays)
    return arrays


def _write_npz(path: Path, arrays: Arrays) -> None:
    """Write the arrays without compression, atomically. The caller holds the lock of the file."""
    partial = path.with_suffix(".partial")
    try:
        with partial.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        partial.replace(path)
    except OSError:  # the disk is full
        partial.unlink(missing_ok=True)
        raise


def _fetch(name: str, path: Path) -> None:
    """Download a data set of Keras, one process at a time, and write it to `path` atomically."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            if path.exists():  # another process fetched it while this one waited
                return
            _write_npz(path, _download(name, path))
    except OSError as error:
        raise DatasetUnavailable(
            f"{path} does not exist and cannot be written ({error}). Put the file there, "
            "or set TRAINYARD_DATASETS_DIR to a folder that the worker can write to."
        ) from error


def _download(name: str, path: Path) -> Arrays:
    import keras  # heavy, and the API never downloads

    try:
        with _set_socket_timeout(FETCH_TIMEOUT_SECONDS):
            (x_train, y_train), (x_test, y_test) = getattr(keras.datasets, name).load_data()
    except Exception as error:
        raise DatasetUnavailable(
            f"{path} does not exist, and {name} could not be downloaded ({error}). Connect this machine to the "
            f"internet once, or put a {path.name} there with the arrays x_train, y_train, x_test and y_test "
            f"of tf.keras.datasets.{name}."
        ) from error
    return {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}


@contextmanager
def _set_socket_timeout(seconds: float) -> Iterator[None]:
    """Set the default timeout of sockets for a while. Keras sets none: a silent host would block the job."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _read_texts(name: str, _: DatasetInfo, __: Path) -> Arrays:
    texts, y, is_test = _read_text_file(name)
    train, test = np.flatnonzero(~is_test), np.flatnonzero(is_test)
    return {
        "x_train": texts.select(train),
        "y_train": y[train],
        "x_test": texts.select(test),
        "y_test": y[test],
        "place": np.concatenate([train, test]),
    }


def _read_text_file(name: str) -> tuple[TextRows, NDArray[np.int64], NDArray[np.bool_]]:
    """Return the texts of a file in this package, their class indices, and whether each is a test row: every fifth."""
    with (TEXTS / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    y = np.asarray([SENTIMENTS.index(row["label"]) for row in rows], np.int64)
    return TextRows.from_texts(row["text"] for row in rows), y, np.arange(len(rows)) % TEST_STEP == TEST_STEP - 1


def select_rows(x: Any, rows: NDArray[np.int64]) -> Any:  # noqa: ANN401 - any kind of rows
    """Return the rows at these positions, of the same kind."""
    return x[rows] if isinstance(x, np.ndarray) else x.select(rows)


def _make_info(
    shape: tuple[int, ...],
    classes: tuple[str, ...],
    train: tuple[int, ...],
    test: tuple[int, ...],
    *,
    own_test: bool,
    texts: bool = False,
) -> DatasetInfo:
    """Build the description of a classification data set. `train` and `test` are the numbers of rows of each class."""
    return DatasetInfo(
        shape,
        images=len(shape) > 1,
        targets=TargetKind.CLASSES,
        train_rows=sum(train),
        test_rows=sum(test),
        classes=classes,
        class_rows=tuple(zip(train, test, strict=True)),
        own_test=own_test,
        texts=texts,
    )


_DIGITS = _make_info(
    (8, 8, 1),
    DIGIT_CLASSES,
    (142, 146, 142, 146, 145, 146, 145, 143, 139, 144),
    (36, 36, 35, 37, 36, 36, 36, 36, 35, 36),
    own_test=False,
)
_IRIS = _make_info((4,), ("setosa", "versicolor", "virginica"), (40,) * 3, (10,) * 3, own_test=False)
_BREAST_CANCER = _make_info((30,), ("malignant", "benign"), (170, 285), (42, 72), own_test=False)
_MNIST = _make_info(
    (28, 28, 1),
    DIGIT_CLASSES,
    (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949),
    (980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009),
    own_test=True,
)
_FASHION_MNIST = _make_info((28, 28, 1), FASHION_CLASSES, (6000,) * 10, (1000,) * 10, own_test=True)
_CIFAR10 = _make_info((32, 32, 3), CIFAR10_CLASSES, (5000,) * 10, (1000,) * 10, own_test=True)
_REVIEWS = _make_info((), SENTIMENTS, (80, 80), (20, 20), own_test=False, texts=True)
BUILTIN_DATASETS = {
    "digits": BuiltinDataset(_DIGITS, _read_from_scikit_learn),
    "iris": BuiltinDataset(_IRIS, _read_from_scikit_learn),
    "breast_cancer": BuiltinDataset(_BREAST_CANCER, _read_from_scikit_learn),
    "mnist": BuiltinDataset(_MNIST, _read_from_folder),
    "fashion_mnist": BuiltinDataset(_FASHION_MNIST, _read_from_folder),
    "cifar10": BuiltinDataset(_CIFAR10, _read_from_folder),
    "reviews_english": BuiltinDataset(_REVIEWS, _read_texts),
    "reviews_korean": BuiltinDataset(_REVIEWS, _read_texts),
}
