"""Test that the built-in data sets are listed, shown and drawn like uploaded ones, without their files."""

import numpy as np
import pytest
from flask.testing import FlaskClient

from shared.datasets.builtin import BUILTIN_DATASETS, read_samples
from shared.settings import Settings
from tests.support.problems import assert_problem
from tests.support.uploads import TABLE, upload_dataset

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def test_built_in_data_sets_are_listed_among_uploaded_ones(http: FlaskClient) -> None:
    upload_dataset(http, TABLE.encode(), "fruit")
    upload_dataset(http, TABLE.encode(), "zebras")

    names, cursor = [], None
    while True:
        page = http.get("/api/v1/datasets", query_string={"limit": 3, **({"cursor": cursor} if cursor else {})}).json
        names += [(dataset["name"], dataset["builtin"]) for dataset in page["datasets"]]
        if (cursor := page["next"]) is None:
            break

    assert names == sorted([*((name, True) for name in BUILTIN_DATASETS), ("fruit", False), ("zebras", False)])


def test_a_built_in_data_set_is_shown(http: FlaskClient) -> None:
    document = http.get("/api/v1/datasets/mnist").json

    (revision,) = document["revisions"]
    assert document["builtin"] is True
    assert (revision["reference"], revision["train_rows"], len(revision["classes"])) == ("mnist", 60_000, 10)
    assert (revision["revision"], revision["digest"]) == (None, None)
    assert_problem(http.delete("/api/v1/datasets/mnist"), 409, "dataset-in-use")


@pytest.mark.parametrize("name", BUILTIN_DATASETS)
def test_a_built_in_data_set_has_a_preview_without_its_files(http: FlaskClient, settings: Settings, name: str) -> None:
    assert not settings.datasets_dir.exists()

    picture = http.get(f"/api/v1/datasets/{name}/preview.svg")

    assert picture.status_code == 200
    assert picture.text.count("<image") >= (1 if BUILTIN_DATASETS[name].info.images else 0)


@pytest.mark.parametrize("name", ["digits", "iris", "breast_cancer"])
def test_the_samples_are_rows_of_the_data_set(settings: Settings, name: str) -> None:
    info = BUILTIN_DATASETS[name].info
    arrays = BUILTIN_DATASETS[name].read(name, info, settings.datasets_dir)

    samples = read_samples(name)

    assert isinstance(samples.x, np.ndarray)
    for part, x, y in (
        ("train", samples.x[: samples.train_rows], samples.y[: samples.train_rows]),
        ("test", samples.x[samples.train_rows :], samples.y[samples.train_rows :]),
    ):
        all_x, all_y = arrays[f"x_{part}"], arrays[f"y_{part}"]
        first = min(40 if part == "train" else 16, len(y))
        assert (x[:first].tolist(), y[:first].tolist()) == (all_x[:first].tolist(), all_y[:first].tolist())
        rows = {(row.tobytes(), int(label)) for row, label in zip(all_x, all_y, strict=True)}
        assert {(row.tobytes(), int(label)) for row, label in zip(x, y, strict=True)} <= rows
    assert len(np.unique(samples.y[: samples.train_rows])) == len(info.classes)


@pytest.mark.parametrize(
    ("name", "train", "test"),
    [
        ("mnist", "5 0 4 1", "7 2 1 0"),
        ("fashion_mnist", "9 0 0 3 0 2 7 2 5 5", "9 2 1 1"),
        ("cifar10", "6 9 9 4", "3 8 8 0"),
    ],
)
def test_the_first_rows_are_those_of_keras(http: FlaskClient, name: str, train: str, test: str) -> None:
    classes = BUILTIN_DATASETS[name].info.classes
    for part, expected in (("train", train), ("test", test)):
        found = http.get(f"/api/v1/datasets/{name}/rows", query_string={"part": part, "limit": 50}).json
        labels = [str(classes.index(row["label"])) for row in found["rows"]]
        assert " ".join(labels[: len(expected.split())]) == expected


def test_quantities_are_not_listed_as_classes(http: FlaskClient) -> None:
    table = "a,price\n" + "\n".join(f"{n},{100 + 7 * n}" for n in range(60))

    document = upload_dataset(http, table.encode(), "prices").json

    assert (document["targets"], document["classes"]) == ("integers", [])
