import pytest
from pydantic import ValidationError

from shared.spec.training import TrainingSpec
from tests.support.examples import DIGITS, changed


def test_a_spec_equals_itself_after_serialisation() -> None:
    spec = TrainingSpec.model_validate(DIGITS)

    again = TrainingSpec.model_validate(spec.model_dump(mode="json", by_alias=True))

    assert again == spec


def test_an_optimizer_may_be_given_by_its_name() -> None:
    spec = TrainingSpec.model_validate(changed(DIGITS, "training.optimizer", "sgd"))

    assert spec.training.optimizer.name == "sgd"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("model", "Digits"),
        ("model", "../digits"),
        ("zork", 1),
        ("dataset.zork", 1),
        ("dataset.inline", {"x": [1], "y": [1]}),
        ("dataset.limit", 0),
        ("dataset.classes", [0]),
        ("dataset.classes", [0, "0"]),
        ("dataset.classes", [0, 1.5]),
        ("dataset.test", {"split": 0}),
        ("dataset.test", {"rows": 5}),
        ("dataset.validation", {"split": 1.0}),
        ("dataset.validation", {"split": 0.1, "rows": 3}),
        ("dataset.validation", {"from": "start"}),
        ("dataset.validation", {}),
        ("preprocessing.size", [0, 8]),
        ("preprocessing.size", "big"),
        ("preprocessing.background", 256),
        ("network.layers", []),
        ("network.layers", [{"layer": "Flatten"}] * 10_000),
        ("network.layers", [{"layer": "Residual", "layers": [{"layer": "Flatten"}] * 499}] * 2),
        ("network.layers", [{"units": 3}]),
        ("network.keras", {}),
        ("network", {}),
        ("network", {"from": "digits", "layers": [{"layer": "Flatten"}]}),
        ("network", {"from": "../digits"}),
        ("network.freeze", ["dense"]),
        ("network", {"keras": "{"}),
        ("network", {"keras": [1]}),
        ("training.epochs", -1),
        ("training.epochs", "3"),
        ("training.epochs", True),
        ("training.batch_size", 1.5),
        ("training.seed", -1),
        ("training.optimizer", 3),
        ("training.metrics", "accuracy"),
        ("training.learning_rate_schedule", "CosineDecay"),
        ("training.class_weight", "rare"),
        ("training.class_weight", {"3": -1}),
        ("training.early_stopping", {"patience": -1}),
        ("training.reduce_lr_on_plateau", {"factor": 1.0}),
        ("training", {"reduce_lr_on_plateau": {}, "learning_rate_schedule": {"name": "CosineDecay"}}),
        ("training.keep", "best"),
        ("training.keep", {"best": None}),
        ("training", {"early_stopping": {"restore_best": True}, "keep": {"best": "val_accuracy"}}),
        ("training.deterministic", "yes"),
        ("training.precision", "bfloat16"),
        ("training.tensorboard", "yes"),
        ("training.tensorboard", {"histograms": 0, "images": True}),
        ("resources.device", "tpu"),
        ("resources.priority", 1000),
        ("resources.max_minutes", 0),
        ("reuse", "yes"),
        ("tags", {"two words": "x"}),
        ("tags", {"course": 2026}),
    ],
)
def test_an_invalid_spec_is_refused(path: str, value: object) -> None:
    with pytest.raises(ValidationError):
        TrainingSpec.model_validate(changed(DIGITS, path, value))
