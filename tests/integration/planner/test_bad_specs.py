"""Test that a spec that cannot be trained is refused at submission, with a pointer to the wrong key."""

import pytest
from flask.testing import FlaskClient

from tests.support.examples import DENSE_SOFTMAX, DIGITS, IRIS, LINE, XOR, Json, changed

LAYER = "network.layers.0"
FLATTEN = {"layer": "Flatten"}


def layers(*stack: Json) -> Json:
    """Return DIGITS with these layers instead of its own."""
    return changed(DIGITS, "network.layers", list(stack))


@pytest.mark.parametrize(
    ("spec", "pointer", "detail"),
    [
        (changed(DIGITS, "training.epochs", -1), "#/training/epochs", "greater than or equal to 0"),
        (changed(DIGITS, "zork", 1), "#/zork", "Unknown key."),
        (changed(DIGITS, "training.epoch", 1), "#/training/epoch", "Did you mean 'epochs'?"),
        (changed(DIGITS, "model", "My Model"), "#/model", "'My Model' does not match the pattern"),
        (
            layers({"layer": "LayerNormalization", "axis": [1] * 101}),
            "#/network/layers/0/axis",
            "101 entries; the limit is 100",
        ),
        (
            changed(
                DIGITS,
                "training.learning_rate_schedule",
                {"name": "PiecewiseConstantDecay", "boundaries": list(range(101)), "values": [0.1] * 102},
            ),
            "#/training/learning_rate_schedule/boundaries",
            "101 entries; the limit is 100",
        ),
        (
            changed(
                changed(XOR, "training.loss", "sparse_categorical_crossentropy"),
                "network.layers.1",
                {"layer": "Dense", "units": 1_000_000, "activation": "softmax"},
            ),
            "#/network/layers/1",
            "1,000,000 classes; the limit is 10,000",
        ),
        (layers({"layer": "Conv2d", "filters": 3}), "#/network/layers/0/layer", "Did you mean 'Conv2D'?"),
        (layers(FLATTEN, {"layer": "Dense", "unit": 3}), "#/network/layers/1/unit", "Did you mean 'units'?"),
        (changed(DIGITS, "dataset.name", "imagenet"), "#/dataset/name", "cifar10"),
        (changed(IRIS, "preprocessing.size", [8, 8]), "#/preprocessing/size", "for images"),
        (changed(DIGITS, "preprocessing.size", [8]), "#/preprocessing/size", "Field required"),
        (changed(DIGITS, "dataset.validation", {"rows": 500}), "#/dataset/validation", "no row is left"),
        (layers({"layer": "Lambda", "function": "x"}), "#/network/layers/0/layer", "Lambda"),
        (layers(FLATTEN, {"layer": "Residual", "layers": []}), "#/network/layers/1/layers", "at least 1"),
        (layers(FLATTEN, {"layer": "Residual"}), "#/network/layers/1", "`layers` is required"),
        (layers(FLATTEN, {"layer": "Dense", "layers": [FLATTEN]}), "#/network/layers/1", "not allowed for other"),
        (layers({"layer": "Residual", "layers": [FLATTEN]}), "#/network/layers/0", "no 1×1 projection"),
        (
            layers({"layer": "Residual", "layers": [{"layer": "Dense", "units": 3, "zork": 1}]}),
            "#/network/layers/0/layers/0/zork",
            "no argument 'zork'",
        ),
        (
            layers({"layer": "Residual", "layers": [{"layer": "ReLU"}], "units": 3}),
            "#/network/layers/0/units",
            "nothing else",
        ),
        (
            layers(FLATTEN, {"layer": "Residual", "layers": [{"layer": "ReLU", "name": "add"}]}),
            "#/network/layers/1/name",
            "'add'",
        ),
        (
            layers({"layer": "Residual", "layers": [{"layer": "Input", "shape": [8, 8, 1]}]}),
            "#/network/layers/0/layers/0",
            "first",
        ),
        (changed(DIGITS, "augmentation", [{"layer": "RandomCrop"}]), "#/augmentation/0/layer", "RandomFlip"),
        (
            changed(DIGITS, "augmentation", [{"layer": "RandomFlip", "mode": "diagonal"}]),
            "#/augmentation/0/mode",
            "'diagonal'",
        ),
        (changed(DIGITS, "augmentation", [{"layer": "RandomFlip", "seed": 3}]), "#/augmentation/0/seed", "seed"),
        (changed(DIGITS, "augmentation", [{"layer": "RandomHue", "factor": 0.1}]), "#/augmentation/0", "grayscale"),
        (changed(IRIS, "augmentation", [{"layer": "RandomFlip"}]), "#/augmentation", "Only images"),
        (layers({"layer": "TFSMLayer", "filepath": "/etc"}), "#/network/layers/0/layer", "TFSMLayer"),
        (layers(FLATTEN, {"layer": "Conv2D", "filters": 3, "kernel_size": 3}), "#/network/layers/1", "ndim=4"),
        (
            layers({"layer": "Conv2D", "filters": 3, "kernel_size": 40}, FLATTEN),
            "#/network/layers/0",
            "zero or negative",
        ),
        (layers(FLATTEN, {"layer": "Reshape", "target_shape": [5, 5]}), "#/network/layers/1", "total size"),
        (layers(FLATTEN, {"layer": "Dense"}), "#/network/layers/1", "units"),
        (layers(FLATTEN, {"layer": "Dense", "units": -1}), "#/network/layers/1", "positive integer"),
        (layers(FLATTEN, {"layer": "Dense", "units": 10**12}), "#/network/layers/1", "parameters"),
        (
            layers({"layer": "UpSampling2D", "size": 10**6}, FLATTEN),
            "#/network/layers/0",
            "more than a device can hold",
        ),
        (layers(FLATTEN, {"layer": "Dense", "units": 3, "zork": 1}), "#/network/layers/1/zork", "no argument 'zork'"),
        (layers(FLATTEN, {"layer": "Dense", "units": 3, "activation": "os.system"}), "#/network/layers/1", "os.system"),
        (
            layers(FLATTEN, {"layer": "Dense", "units": 3, "activation": {"class_name": "Lambda"}}),
            "#/network/layers/1/activation",
            "mapping",
        ),
        (
            layers(FLATTEN, {"layer": "Dense", "units": 3, "kernel_initializer": {"name": "STFT"}}),
            "#/network/layers/1/kernel_initializer/name",
            "STFT",
        ),
        (
            layers(FLATTEN, {"layer": "Dense", "units": 3, "kernel_initializer": {"module": "os", "class_name": "x"}}),
            "#/network/layers/1/kernel_initializer/name",
            "None",
        ),
        (layers(FLATTEN, {"layer": "Dropout", "rate": 2}), "#/network/layers/1", "between 0 and 1"),
        (layers(FLATTEN, {"layer": "Dense", "units": 3, "use_bias": "yes"}), "#/network/layers/1/use_bias", "true"),
        (layers(FLATTEN, {"layer": "Dense", "units": 3, "dtype": "float64"}), "#/network/layers/1/dtype", "precision"),
        (layers(FLATTEN, {"layer": "Dense", "units": 3, "name": "my layer"}), "#/network/layers/1/name", "letters"),
        (
            layers(FLATTEN, {"layer": "ReLU", "name": "a"}, {"layer": "ReLU", "name": "a"}),
            "#/network/layers/2/name",
            "'a'",
        ),
        (layers({"layer": "Input", "shape": [28, 28, 1]}, FLATTEN), "#/network/layers/0/shape", "[8, 8, 1]"),
        (layers(FLATTEN, {"layer": "Input", "shape": [64]}), "#/network/layers/1", "first"),
        (layers({"layer": "Flatten", "input_shape": [9, 9, 1]}), "#/network/layers/0/input_shape", "[8, 8, 1]"),
        (layers({"layer": "Dense", "units": 10, "activation": "softmax"}), "#/network/layers/0", "Flatten"),
        (layers(FLATTEN, {"layer": "Dense", "units": 10}), "#/network/layers/1", "softmax"),
        (layers(FLATTEN, {**DENSE_SOFTMAX, "units": 7}), "#/network/layers/1", "need 10"),
        (changed(DIGITS, "training.loss", "zork"), "#/training/loss", "mean_squared_error"),
        (changed(DIGITS, "training.metrics", ["accuracy", "zork"]), "#/training/metrics/1", "zork"),
        (changed(DIGITS, "training.metrics", ["Mean"]), "#/training/metrics/0", "labels"),
        (changed(DIGITS, "training.optimizer", "zork"), "#/training/optimizer/name", "Adam"),
        (changed(DIGITS, "training.optimizer.learning_rate", "fast"), "#/training/optimizer/learning_rate", "'fast'"),
        (
            changed(DIGITS, "training.optimizer.learning_rate", -1),
            "#/training/optimizer/learning_rate",
            "greater than 0",
        ),
        (
            changed(DIGITS, "training.optimizer.learning_rate", {"name": "x"}),
            "#/training/optimizer/learning_rate",
            "mapping",
        ),
        (changed(DIGITS, "training.optimizer.zork", 1), "#/training/optimizer/zork", "no argument 'zork'"),
        (
            changed(DIGITS, "training.learning_rate_schedule", {"name": "zork"}),
            "#/training/learning_rate_schedule/name",
            "CosineDecay",
        ),
        (
            changed(DIGITS, "training.learning_rate_schedule", {"name": "CosineDecay", "decay_steps": "ten"}),
            "#/training/learning_rate_schedule/decay_steps",
            "'ten'",
        ),
        (
            changed(DIGITS, "training.learning_rate_schedule", {"name": "PiecewiseConstantDecay", "values": [1]}),
            "#/training/learning_rate_schedule",
            "boundaries",
        ),
        (
            changed(DIGITS, "training.learning_rate_schedule", {"name": "PolynomialDecay", "end_learning_rate": -1}),
            "#/training/learning_rate_schedule",
            "must be 0 or more",
        ),
        (changed(DIGITS, "training.class_weight", {"10": 2}), "#/training/class_weight/10", "no class '10'"),
        (changed(LINE, "training.class_weight", "balanced"), "#/training/class_weight", "one class for each row"),
        (changed(DIGITS, "training.keep", {"best": "val_zork"}), "#/training/keep/best", "val_accuracy"),
        (changed(XOR, "training.early_stopping", {}), "#/training/early_stopping/monitor", "no validation rows"),
        (changed(XOR, "training.reduce_lr_on_plateau", {}), "#/training/reduce_lr_on_plateau/monitor", "no validation"),
        (
            changed(XOR, "training.learning_rate_schedule", {"name": "ReduceLROnPlateau"}),
            "#/training/learning_rate_schedule/name",
            "`training.reduce_lr_on_plateau`",
        ),
        (changed(LINE, "training.loss", "categorical_crossentropy"), "#/training/loss", "classes"),
        (changed(LINE, "network.layers.0.units", 2), "#/network/layers/0", "need 1"),
        (
            changed(XOR, "dataset.inline.x", [[0, 0], [0], [1, 0], [1, 1]]),
            "#/dataset/inline/x/1",
            "1 entries, the first row has 2",
        ),
        (changed(XOR, "dataset.inline.y", [0, 1, 2, 1]), "#/network/layers/1", "3 classes with binary_crossentropy"),
    ],
)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # a refused spec does not reach the database
def test_an_invalid_spec_is_refused_with_a_pointer(http: FlaskClient, spec: Json, pointer: str, detail: str) -> None:
    answer = http.post("/api/v1/jobs", json=spec)

    problem = answer.json
    assert (answer.status_code, answer.content_type) == (422, "application/problem+json")
    assert problem["errors"][0]["pointer"] == pointer
    assert detail in problem["errors"][0]["detail"]
    assert pointer in problem["detail"]
    assert http.get("/api/v1/jobs").json["jobs"] == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b"", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b'{"model": "x", "dataset": {"inline": {"x": [NaN], "y": [1]}}}', "application/json", 422),
        (b"null", "application/json", 422),
        (b"[]", "application/json", 422),
        (b"{}", "text/plain", 415),
        (b" " * (5 * 2**20), "application/json", 413),
    ],
    ids=["cut off", "empty", "too deep", "NaN", "null", "array", "other media type", "too large"],
)
def test_a_body_that_is_not_a_spec_is_answered_with_a_problem(
    http: FlaskClient, body: bytes, content_type: str, status: int
) -> None:
    answer = http.post("/api/v1/jobs", data=body, content_type=content_type)

    assert (answer.status_code, answer.content_type) == (status, "application/problem+json")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_ten_thousand_layers_are_refused(http: FlaskClient) -> None:
    answer = http.post("/api/v1/jobs", json=layers(*[FLATTEN] * 10_000))

    assert answer.json["errors"][0]["pointer"] == "#/network/layers"
