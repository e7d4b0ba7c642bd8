"""Test networks of real notebooks as Keras prints them: models inside models, wrappers, attention and arithmetic."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from flask.testing import FlaskClient

from shared.networks.builder import build_network, find_final_activation
from shared.spec.network import NetworkSpec
from tests.support.examples import DIGITS, Json, changed
from tests.support.jobs import show_job
from tests.support.problems import assert_problem
from tests.support.worker import InProcessWorker

layers, ops = keras.layers, keras.ops
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
SHAPE = (8, 8, 1)


def make_nested() -> keras.Model:
    """Return a network with a Sequential inside, which is used twice, and a Functional inside of that."""
    start = keras.Input((4, 4, 3))
    inner = keras.Model(start, layers.Conv2D(3, 3, padding="same")(start), name="inner")
    base = keras.Sequential([keras.Input((4, 4, 3)), inner, layers.BatchNormalization()], name="base")
    image = keras.Input(SHAPE)
    small = layers.Conv2D(3, 2, strides=2)(image)
    twice = base(base(small))
    return keras.Model(image, layers.Dense(10, activation="softmax")(layers.Flatten()(twice)))


def make_nested_output() -> keras.Model:
    """Return a network whose last layer is a model that ends in softmax."""
    head = keras.Sequential([keras.Input((64,)), layers.Dense(10, activation="softmax")], name="head")
    return keras.Sequential([keras.Input(SHAPE), layers.Flatten(), head])


def make_arithmetic() -> keras.Model:
    image = keras.Input(SHAPE)
    scaled = (image / 255.0 - 0.5) * 2.0
    flipped = 1 - layers.Conv2D(4, 3)(-scaled)
    shifted = flipped - np.array([0.1, 0.2, 0.3, 0.4], np.float32)
    hidden = ops.relu(shifted) * ops.sigmoid(shifted) + ops.hard_sigmoid(shifted)
    mean = ops.mean(hidden, axis=(1, 2))
    return keras.Model(image, layers.Dense(10, activation="softmax")(mean))


def make_recurrent() -> keras.Model:
    image = keras.Input(SHAPE)
    rows = layers.Reshape((8, 8))(image)
    both = layers.Bidirectional(layers.LSTM(3, return_sequences=True), merge_mode="sum")(rows)
    each = layers.TimeDistributed(layers.Dense(4, activation="relu"))(both)
    attended = layers.Attention()([each, each])
    several = layers.MultiHeadAttention(2, 3)(attended, each)
    mean = layers.GlobalAveragePooling1D()(several)
    return keras.Model(image, layers.Dense(10, activation="softmax")(mean))


def make_normalized() -> keras.Model:
    normalization = layers.Normalization(mean=[3.0], variance=[4.0])
    return keras.Sequential(
        [keras.Input(SHAPE), normalization, layers.Flatten(), layers.Dense(10, activation="softmax")]
    )


def make_unchanged() -> keras.Model:
    """Return a network with a Normalization without statistics, as EfficientNet has it."""
    return keras.Sequential(
        [keras.Input(SHAPE), layers.Normalization(), layers.Flatten(), layers.Dense(10, activation="softmax")]
    )


MAKERS = [make_nested, make_nested_output, make_arithmetic, make_recurrent, make_normalized, make_unchanged]


def to_spec(network: keras.Model) -> NetworkSpec:
    return NetworkSpec(keras=json.loads(network.to_json()))


@pytest.mark.parametrize("make", MAKERS)
def test_the_rebuilt_network_computes_the_same(make: Callable[[], keras.Model]) -> None:
    original = make()

    network = build_network(to_spec(original), SHAPE, "network")

    network.set_weights(original.get_weights())
    images = np.random.default_rng(0).random((3, *SHAPE), np.float32) * 255
    assert np.allclose(network(images), original(images), atol=1e-5)
    assert find_final_activation(to_spec(original))[1] == "softmax"


@pytest.mark.parametrize(
    "name", ["MobileNetV2", "MobileNetV3Small", "MobileNetV3Large", "EfficientNetB0", "EfficientNetV2B0", "ResNet50"]
)
def test_the_networks_of_keras_applications_are_read(name: str) -> None:
    original = getattr(keras.applications, name)(weights=None, input_shape=(64, 64, 3), classes=10)

    network = build_network(to_spec(original), (64, 64, 3), "network")

    assert [weight.shape for weight in network.weights] == [weight.shape for weight in original.weights]


@on_sqlite
@pytest.mark.parametrize("make", MAKERS)
def test_it_is_planned_trained_and_served_and_its_weights_load_into_the_sender_s_network(
    http: FlaskClient, worker: InProcessWorker, tmp_path: Path, make: Callable[[], keras.Model]
) -> None:
    original = make()
    spec = changed(changed(DIGITS, "network", {"keras": json.loads(original.to_json())}), "preprocessing.scale", "none")

    job = http.post("/api/v1/jobs", json=spec)
    assert job.status_code == 202, job.text
    worker.run_all()

    assert show_job(http, job.json["id"])["error"] is None
    image = np.random.default_rng(0).integers(2, 256, SHAPE)
    answer = http.post("/api/v1/models/digits/predictions?top=10", json={"instances": [image.tolist()]}).json
    ranked = sorted(answer["predictions"][0]["top"], key=lambda best: best["class"])
    weights = tmp_path / "model.weights.h5"
    weights.write_bytes(http.get("/api/v1/models/digits/versions/1/files/model.weights.h5").data)
    original.load_weights(weights)
    expected = original(image[np.newaxis].astype(np.float32))[0]
    assert np.allclose([best["probability"] for best in ranked], expected, atol=1e-4)


def make_flat_notebook() -> keras.Model:
    with pytest.warns(UserWarning, match="input_shape"):
        return keras.Sequential([layers.Flatten(input_shape=(8, 8)), layers.Dense(10, activation="softmax")])


def make_dense_notebook() -> keras.Model:
    with pytest.warns(UserWarning, match="input_shape"):
        return keras.Sequential(
            [layers.Dense(5, activation="relu", input_shape=(64,)), layers.Dense(10, activation="softmax")]
        )


@pytest.mark.parametrize("make", [make_flat_notebook, make_dense_notebook])
def test_a_reshape_is_put_in_front_of_a_network_that_declares_another_shape(
    tmp_path: Path, make: Callable[[], keras.Model]
) -> None:
    original = make()

    network = build_network(to_spec(original), SHAPE, "network")

    assert type(network.layers[1]).__name__ == "Reshape"
    network.save_weights(tmp_path / "model.weights.h5")
    original.load_weights(tmp_path / "model.weights.h5")
    images = np.random.default_rng(0).random((3, *SHAPE), np.float32)
    assert np.allclose(network(images), original(images.reshape(3, *original.input_shape[1:])), atol=1e-6)


@on_sqlite
@pytest.mark.parametrize(
    "first",
    [
        {"layer": "Flatten", "input_shape": [8, 8]},
        {"layer": "Dense", "units": 5, "input_shape": [64]},
        {"layer": "Input", "shape": [64]},
    ],
)
def test_layers_of_a_spec_can_declare_the_shape_of_the_notebook(http: FlaskClient, first: Json) -> None:
    network = {"layers": [first, {"layer": "Flatten"}, {"layer": "Dense", "units": 10, "activation": "softmax"}]}

    plan = http.post("/api/v1/jobs?dry_run=true", json=changed(DIGITS, "network", network))

    assert plan.status_code == 200, plan.text
    assert plan.json["layers"][0]["type"] == "Reshape"


def wrap(*entries: Json) -> Json:
    """Return a Sequential of Keras with these layers behind its input."""
    start = {"class_name": "InputLayer", "config": {"batch_shape": [None, *SHAPE], "name": "in"}}
    return {"class_name": "Sequential", "config": {"layers": [start, *entries]}}


def nest(depth: int) -> Json:
    document = wrap({"class_name": "Flatten", "config": {"name": "flat"}})
    for _ in range(depth):
        document = wrap(document)
    return document


def make_square() -> keras.Model:
    image = keras.Input(SHAPE)
    return keras.Model(image, layers.Dense(10, activation="softmax")(layers.Flatten()(image**2)))


@on_sqlite
@pytest.mark.parametrize(
    ("document", "pointer", "words"),
    [
        (json.loads(make_square().to_json()), "#/network/keras/config/layers/1", "'Power' on tensors is not read"),
        (json.dumps(nest(12)), "#/network/keras", "more than 10 levels deep"),
        (
            wrap({"class_name": "Bidirectional", "config": {"name": "both"}}),
            "#/network/keras/config/layers/1/config/layer",
            "needs a layer",
        ),
        (
            wrap({"class_name": "TimeDistributed", "config": {"layer": {"class_name": "Lambda", "config": {}}}}),
            "#/network/keras/config/layers/1/config/layer",
            "'Lambda' is not an allowed layer",
        ),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(
    http: FlaskClient, document: Json | str, pointer: str, words: str
) -> None:
    answer = http.post("/api/v1/jobs?dry_run=true", json=changed(DIGITS, "network", {"keras": document}))

    (error,) = assert_problem(answer, 422, "invalid-request")["errors"]
    assert error["pointer"].startswith(pointer)
    assert words in error["detail"]


KERAS_2_DIVISION: Any = {
    "class_name": "Functional",
    "config": {
        "name": "model",
        "layers": [
            {"class_name": "InputLayer", "config": {"batch_input_shape": [None, 8, 8, 1], "name": "in"}, "name": "in"},
            {
                "class_name": "TFOpLambda",
                "config": {"name": "tf.math.truediv", "function": "math.truediv"},
                "name": "tf.math.truediv",
                "inbound_nodes": [["in", 0, 0, {"y": 255.0, "name": None}]],
            },
            {
                "class_name": "Flatten",
                "config": {"name": "flat"},
                "name": "flat",
                "inbound_nodes": [[["tf.math.truediv", 0, 0, {}]]],
            },
            {
                "class_name": "Dense",
                "config": {"name": "out", "units": 10, "activation": "softmax"},
                "name": "out",
                "inbound_nodes": [[["flat", 0, 0, {}]]],
            },
        ],
        "input_layers": [["in", 0, 0]],
        "output_layers": [["out", 0, 0]],
    },
}


def test_a_division_of_keras_2_is_read() -> None:
    network = build_network(NetworkSpec(keras=KERAS_2_DIVISION), SHAPE, "network")

    (rescaling,) = [layer for layer in network.layers if isinstance(layer, layers.Rescaling)]
    assert (rescaling.scale, rescaling.offset) == (1 / 255, [0])
