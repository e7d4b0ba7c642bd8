"""The data sets that come with Trainyard: from scikit-learn's wheel, or from a folder of `.npz` files."""

import socket
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from shared.datasets.info import DatasetInfo, TargetKind
from shared.errors import DatasetUnavailable

DIGIT_CLASSES = tuple("0123456789")
FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
FETCH_TIMEOUT_SECONDS = 60.0

Arrays = dict[str, NDArray[Any]]
"""x_train, y_train, x_test, y_test; and place, where the parts were made here of one whole."""


@dataclass(frozen=True)
class BuiltinDataset:
    """`read` takes the folder of `.npz` files, and may raise DatasetUnavailable."""

    info: DatasetInfo
    read: Callable[[str, DatasetInfo, Path], Arrays]


def _read_from_scikit_learn(name: str, info: DatasetInfo, _: Path) -> Arrays:
    """They have no test part of their own: a fifth, drawn once and for all, serves as one.

    `place` is where each row, of the training part and then of the test part, stands in scikit-learn's own order.
    """
    from sklearn import datasets  # the API reads facts alone
    from sklearn.model_selection import train_test_split

    bunch = getattr(datasets, f"load_{name}")()
    if info.images:  # the digits' levels, 0 to 16, as bytes
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
            raise DatasetUnavailable(f"{path} does not hold {name}: delete the file, and it is fetched again.")
        arrays[f"x_{part}"] = x.reshape(rows, *info.shape)
        arrays[f"y_{part}"] = y.reshape(rows).astype(np.int64)
    return arrays


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:  # a folder that may not even be looked into
        raise DatasetUnavailable(f"{path} cannot be reached ({error}): let the worker read that folder.") from error


def _open_npz(path: Path) -> Arrays:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in ("x_train", "y_train", "x_test", "y_test")}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DatasetUnavailable(f"{path} cannot be read ({error}): delete it, and it is fetched again.") from error


def _fetch(name: str, path: Path) -> None:
    """Downloads a set that Keras knows, one process at a time, and puts it in place whole or not at all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            if path.exists():  # another process fetched it while this one waited
                return
            arrays = _download(name, path)
            partial = path.with_suffix(".partial")
            with partial.open("wb") as file:
                np.savez(file, allow_pickle=False, **arrays)
            partial.replace(path)
    except OSError as error:
        raise DatasetUnavailable(
            f"{path} is not there and cannot be written ({error}): put the file there, "
            "or let TRAINYARD_DATASETS_DIR name a folder that the worker may write to."
        ) from error


def _download(name: str, path: Path) -> Arrays:
    import keras  # heavy, and the API never fetches

    try:
        with _set_socket_timeout(FETCH_TIMEOUT_SECONDS):
            (x_train, y_train), (x_test, y_test) = getattr(keras.datasets, name).load_data()
    except Exception as error:
        raise DatasetUnavailable(
            f"{path} is not there, and {name} could not be fetched ({error}): connect this machine to the internet "
            f"once, or put a {path.name} there, with x_train, y_train, x_test and y_test "
            f"as tf.keras.datasets.{name} has them."
        ) from error
    return {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}


@contextmanager
def _set_socket_timeout(seconds: float) -> Iterator[None]:
    """Keras opens its connections without one, and a silent host would hold the job for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _make_info(
    shape: tuple[int, ...], classes: tuple[str, ...], train: tuple[int, ...], test: tuple[int, ...], *, own_test: bool
) -> DatasetInfo:
    """`train` and `test` are the rows of each class."""
    return DatasetInfo(
        shape,
        images=len(shape) > 1,
        targets=TargetKind.CLASSES,
        train_rows=sum(train),
        test_rows=sum(test),
        classes=classes,
        class_rows=tuple(zip(train, test, strict=True)),
        own_test=own_test,
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
BUILTIN_DATASETS = {
    "digits": BuiltinDataset(_DIGITS, _read_from_scikit_learn),
    "iris": BuiltinDataset(_IRIS, _read_from_scikit_learn),
    "breast_cancer": BuiltinDataset(_BREAST_CANCER, _read_from_scikit_learn),
    "mnist": BuiltinDataset(_MNIST, _read_from_folder),
    "fashion_mnist": BuiltinDataset(_FASHION_MNIST, _read_from_folder),
    "cifar10": BuiltinDataset(_CIFAR10, _read_from_folder),
}
