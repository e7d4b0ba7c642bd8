"""Test which number stands for a version in a list."""

import pytest

from shared.registry.manifest import Metrics

LOSS = {"loss": 0.5}


@pytest.mark.parametrize(
    ("test", "validation", "train", "expected"),
    [
        ({"loss": 1, "mse": 2, "accuracy": 0.9}, LOSS, LOSS, ("test", "accuracy", 0.9)),
        ({"loss": 1, "auc": 0.8, "precision": 0.7}, None, LOSS, ("test", "auc", 0.8)),
        (None, {"loss": 1, "binary_accuracy": None}, {"accuracy": 1}, ("validation", "loss", 1)),
        ({"loss": None}, None, {"loss": 3}, ("train", "loss", 3)),
        (None, None, {"loss": None}, None),
    ],
    ids=["accuracy first", "first metric", "finite values", "another part", "none"],
)
def test_the_headline_is_the_best_known_metric(
    test: dict[str, float | None] | None,
    validation: dict[str, float | None] | None,
    train: dict[str, float | None],
    expected: tuple[str, str, float] | None,
) -> None:
    assert Metrics(train=train, validation=validation, test=test).choose_headline() == expected
