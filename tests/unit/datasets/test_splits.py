"""Test that datasets are described, loaded and split. A small mnist replaces the one that is kept in a file."""

import dataclasses
import os
import threading
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.model_selection import train_test_split

from shared.datasets import builtin, splits
from shared.errors import DatasetDoesNotFit, DatasetUnavailable, InvalidRequest
from shared.spec.dataset import DatasetSpec, InlineData, ValidationSplit

SEED = 7


def make_spec(name: str = "digits", **options: Any) -> DatasetSpec:
    return DatasetSpec.model_validate({"name": name, **options})


@pytest.mark.parametrize("name", ["digits", "iris", "breast_cancer"])
def test_the_description_of_a_dataset_equals_the_loaded_rows(name: str, tmp_path: Path) -> None:
    info = splits.describe_dataset(make_spec(name))

    dataset = splits.load_dataset(make_spec(name, validation={"split": 0}), SEED, tmp_path)

    assert (len(dataset.train), len(dataset.test)) == (info.train_rows, info.test_rows)
    assert dataset.train.array.shape[1:] == info.shape
    assert set(dataset.train.y) == set(range(len(info.classes)))
    assert dataset.train.array.dtype == (np.uint8 if info.images else np.float32)
    rows_read = zip(np.bincount(dataset.train.y).tolist(), np.bincount(dataset.test.y).tolist(), strict=True)
    assert tuple(rows_read) == info.class_rows


def test_the_largest_pixel_level_of_digits_is_255(tmp_path: Path) -> None:
    assert splits.load_dataset(make_spec(), SEED, tmp_path).train.array.max() == 255


def test_the_same_seed_draws_the_same_rows(tmp_path: Path) -> None:
    first, again, other = (splits.load_dataset(make_spec(limit=100), seed, tmp_path) for seed in (1, 1, 2))

    assert np.array_equal(first.train.array, again.train.array)
    assert not np.array_equal(first.train.array, other.train.array)
    assert first.digest == again.digest == other.digest


@pytest.mark.parametrize(
    ("options", "sizes"),
    [
        ({}, (1294, 144, 359)),
        ({"limit": 100}, (90, 10, 359)),
        ({"limit": 10_000}, (1294, 144, 359)),
        ({"validation": {"split": 0}}, (1438, 0, 359)),
        ({"validation": {"split": 0.2, "stratify": True}}, (1150, 288, 359)),
        ({"validation": {"rows": 38}}, (1400, 38, 359)),
        ({"validation": {"rows": 38, "from": "start"}}, (1400, 38, 359)),
        ({"test": {"split": 0.5}}, (809, 90, 898)),
        ({"test": {"split": 0.5, "stratify": True}}, (809, 90, 898)),
        ({"classes": [0, 1]}, (259, 29, 72)),
        ({"classes": [3, "8"], "test": {"split": 0.1}, "validation": {"split": 0}}, (321, 0, 36)),
    ],
)
def test_parts_have_the_predicted_sizes(options: dict[str, Any], sizes: tuple[int, int, int], tmp_path: Path) -> None:
    spec = make_spec(**options)

    predicted = splits.compute_part_sizes(spec, splits.describe_dataset(spec))
    dataset = splits.load_dataset(spec, SEED, tmp_path)

    assert (predicted.train, predicted.validation, predicted.test) == sizes
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == sizes


def test_validation_rows_come_from_the_requested_end(tmp_path: Path) -> None:
    whole, start, end = (
        splits.load_dataset(make_spec(validation=validation), SEED, tmp_path)
        for validation in ({"split": 0}, {"rows": 5, "from": "start"}, {"rows": 5, "from": "end"})
    )

    assert np.array_equal(start.validation.array, whole.train.array[:5])
    assert np.array_equal(end.validation.array, whole.train.array[-5:])


def test_stratified_validation_keeps_the_share_of_each_class(tmp_path: Path) -> None:
    dataset = splits.load_dataset(make_spec("iris", validation={"split": 0.25, "stratify": True}), SEED, tmp_path)

    assert np.bincount(dataset.validation.y).tolist() == [10, 10, 10]


def test_a_split_without_training_rows_is_refused() -> None:
    spec = make_spec("iris", validation={"rows": 120})

    with pytest.raises(InvalidRequest, match="cannot be split"):
        splits.compute_part_sizes(spec, splits.describe_dataset(spec))


def test_a_class_too_small_to_stratify_is_refused(tmp_path: Path) -> None:
    inline = InlineData(x=[1, 2, 3, 4], y=["a", "a", "a", "b"])
    spec = DatasetSpec(inline=inline, validation=ValidationSplit(split=0.5, stratify=True))

    with pytest.raises(DatasetDoesNotFit, match="stratified"):
        splits.load_dataset(spec, SEED, tmp_path)


def test_selected_classes_are_numbered_in_the_requested_order(tmp_path: Path) -> None:
    whole = splits.load_dataset(make_spec("iris", validation={"split": 0}), SEED, tmp_path).train
    spec = make_spec("iris", classes=["virginica", "setosa"], validation={"split": 0})

    dataset = splits.load_dataset(spec, SEED, tmp_path)

    assert dataset.info.classes == ("virginica", "setosa")
    assert np.array_equal(dataset.train.array[dataset.train.y == 0], whole.array[whole.y == 2])
    assert np.array_equal(dataset.train.array[dataset.train.y == 1], whole.array[whole.y == 0])


def test_the_test_part_equals_the_split_of_scikit_learn(tmp_path: Path) -> None:
    x, y = load_iris(return_X_y=True)
    _, expected_x, _, expected_y = train_test_split(x, y, test_size=0.2, random_state=13)

    test = splits.load_dataset(make_spec("iris", test={"split": 0.2}), 13, tmp_path).test

    assert np.array_equal(test.array, expected_x.astype(np.float32))
    assert np.array_equal(test.y, expected_y)


def test_integer_classes_of_inline_data_may_be_any_integers(tmp_path: Path) -> None:
    inline = InlineData(x=[1, 2, 3, 4], y=[7, -3, 7, 5])

    dataset = splits.load_dataset(DatasetSpec(inline=inline, classes=[7, -3]), SEED, tmp_path)

    assert dataset.info.classes == ("7", "-3")
    assert dataset.train.array.tolist() == [[1], [2], [3]]
    assert dataset.train.y.tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("spec", "pointer", "said"),
    [
        ({"name": "iris", "classes": ["setosa", "rose"]}, "#/dataset/classes/1", "versicolor"),
        ({"inline": {"x": [1, 2], "y": [0, 1]}, "classes": [0, 2]}, "#/dataset/classes/1", "No training row"),
        ({"inline": {"x": [1, 2], "y": [0, 1]}, "classes": [0, "1"]}, "#/dataset/classes/1", "not an integer"),
        ({"inline": {"x": [1, 2], "y": [0.5, 1]}, "classes": [0, 1]}, "#/dataset/classes", "no classes"),
        ({"name": "mnist", "test": {"split": 0.2}}, "#/dataset/test", "10,000"),
        ({"inline": {"x": [1, 2], "y": [0, 1]}, "test": {"split": 0.9}}, "#/dataset/test/split", "no row is left"),
        (
            {"inline": {"x": [1, 2], "y": [0.5, 1]}, "test": {"split": 0.5, "stratify": True}},
            "#/dataset/test/stratify",
            "one class each",
        ),
    ],
)
def test_an_invalid_option_is_refused_with_its_pointer(spec: dict[str, Any], pointer: str, said: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        splits.describe_dataset(DatasetSpec.model_validate(spec))

    (fault,) = refused.value.faults
    assert fault.pointer == pointer
    assert said in fault.detail


def test_few_rows_are_all_used_for_training(tmp_path: Path) -> None:
    spec = DatasetSpec(inline=InlineData(x=[1, 2, 3, 4], y=[0, 1, 1, 0]))

    dataset = splits.load_dataset(spec, SEED, tmp_path)

    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (4, 0, 0)


@pytest.fixture
def small_mnist(monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """Return random arrays that replace mnist; declare mnist with 6 training and 2 test rows."""
    whole = builtin.BUILTIN_DATASETS["mnist"]
    info = dataclasses.replace(whole.info, train_rows=6, test_rows=2)
    monkeypatch.setitem(builtin.BUILTIN_DATASETS, "mnist", builtin.BuiltinDataset(info, whole.read))
    pixels = np.random.default_rng(0).integers(0, 256, (8, 28, 28), np.uint8)
    labels = np.arange(8, dtype=np.uint8)
    return {"x_train": pixels[:6], "y_train": labels[:6], "x_test": pixels[6:], "y_test": labels[6:]}


def test_a_dataset_file_in_the_folder_is_read(small_mnist: dict[str, np.ndarray], tmp_path: Path) -> None:
    np.savez(tmp_path / "mnist.npz", allow_pickle=False, **small_mnist)

    dataset = splits.load_dataset(make_spec("mnist", validation={"split": 0}), SEED, tmp_path)

    assert np.array_equal(dataset.train.array, small_mnist["x_train"][..., np.newaxis])
    assert dataset.train.y.tolist() == [0, 1, 2, 3, 4, 5]


def test_a_missing_file_is_downloaded_once_and_kept(
    small_mnist: dict[str, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    downloads = []

    def load_data() -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
        downloads.append(threading.get_ident())
        return (small_mnist["x_train"], small_mnist["y_train"]), (small_mnist["x_test"], small_mnist["y_test"])

    monkeypatch.setattr(keras.datasets.mnist, "load_data", load_data)
    folder = tmp_path / "not" / "there" / "yet"
    threads = [threading.Thread(target=splits.load_dataset, args=(make_spec("mnist"), SEED, folder)) for _ in range(4)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(downloads) == 1
    assert len(splits.load_dataset(make_spec("mnist"), SEED, folder).test) == 2


def test_a_failed_download_names_the_file_to_provide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load_data() -> None:
        raise Exception("URL fetch failure: no network")

    monkeypatch.setattr(keras.datasets.mnist, "load_data", load_data)

    with pytest.raises(DatasetUnavailable) as refused:
        splits.load_dataset(make_spec("mnist"), SEED, tmp_path)

    assert str(tmp_path / "mnist.npz") in refused.value.detail
    assert "put a mnist.npz there" in refused.value.detail
    assert os.listdir(tmp_path) == ["mnist.npz.lock"]  # noqa: PTH208


def test_a_compressed_file_is_replaced_by_one_that_is_read_faster(
    small_mnist: dict[str, np.ndarray], tmp_path: Path
) -> None:
    path = tmp_path / "mnist.npz"
    np.savez_compressed(path, **small_mnist)  # type: ignore[arg-type]

    first, second = (splits.load_dataset(make_spec("mnist"), SEED, tmp_path) for _ in range(2))

    with zipfile.ZipFile(path) as archive:
        assert {member.compress_type for member in archive.infolist()} == {zipfile.ZIP_STORED}
    assert first.digest == second.digest
    assert np.array_equal(first.train.array, second.train.array)


def test_a_compressed_file_in_a_folder_of_others_is_read_where_it_is(
    small_mnist: dict[str, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    np.savez_compressed(tmp_path / "mnist.npz", **small_mnist)  # type: ignore[arg-type]
    monkeypatch.setattr("shared.datasets.builtin._write_npz", refuse)

    assert len(splits.load_dataset(make_spec("mnist"), SEED, tmp_path).test) == 2


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"hello"])
def test_a_damaged_file_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "mnist.npz").write_bytes(content)

    with pytest.raises(DatasetUnavailable, match=r"mnist\.npz cannot be read"):
        splits.load_dataset(make_spec("mnist"), SEED, tmp_path)


def test_objects_in_a_file_are_never_unpickled(small_mnist: dict[str, np.ndarray], tmp_path: Path) -> None:
    pickled = {**small_mnist, "y_train": np.array([object()], dtype=object)}
    np.savez(tmp_path / "mnist.npz", allow_pickle=True, **pickled)

    with pytest.raises(DatasetUnavailable, match="cannot be read"):
        splits.load_dataset(make_spec("mnist"), SEED, tmp_path)


def test_a_file_with_another_dataset_is_refused(small_mnist: dict[str, np.ndarray], tmp_path: Path) -> None:
    halved = {**small_mnist, "x_train": small_mnist["x_train"][:, :14]}
    np.savez(tmp_path / "mnist.npz", allow_pickle=False, **halved)

    with pytest.raises(DatasetUnavailable, match="does not contain mnist"):
        splits.load_dataset(make_spec("mnist"), SEED, tmp_path)
