"""Test networks that a spec gives as Keras JSON."""

import json
from copy import deepcopy
from typing import Any

import keras
import numpy as np
import pytest
from flask.testing import FlaskClient

from shared.errors import InvalidRequest
from shared.networks.builder import build_network
from shared.networks.keras_json import parse_keras_json
from shared.spec.network import NetworkSpec
from tests.support.examples import DIGITS, Json, changed
from tests.support.worker import InProcessWorker

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def make_sequential() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(4, 3, activation="relu", kernel_regularizer=keras.regularizers.L2(0.01)),
            keras.layers.BatchNormalization(),
            keras.layers.Flatten(),
            keras.layers.Dense(10, activation="softmax", kernel_initializer="he_normal"),
        ]
    )


def make_two_branches() -> keras.Model:
    """Return a network with two branches, an operator (`+`), and a layer that is used twice."""
    image = keras.Input((8, 8, 1))
    left = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(image)
    right = keras.layers.Conv2D(4, 1)(image)
    shared = keras.layers.Dense(4)
    merged = keras.layers.Add()([shared(left), shared(right)]) + left
    joined = keras.layers.Concatenate()([merged, right])
    return keras.Model(image, keras.layers.Dense(10, activation="softmax")(keras.layers.Flatten()(joined)))


KERAS_2: Json = {
    "class_name": "Functional",
    "config": {
        "name": "model",
        "layers": [
            {
                "class_name": "InputLayer",
                "config": {"batch_input_shape": [None, 8, 8, 1], "dtype": "float32", "sparse": False, "name": "in"},
                "name": "in",
                "inbound_nodes": [],
            },
            {
                "class_name": "BatchNormalization",
                "config": {"name": "norm", "axis": [3], "momentum": 0.9},
                "name": "norm",
                "inbound_nodes": [[["in", 0, 0, {}]]],
            },
            {
                "class_name": "Multiply",
                "config": {"name": "times"},
                "name": "times",
                "inbound_nodes": [[["in", 0, 0, {}], ["norm", 0, 0, {}]]],
            },
            {
                "class_name": "Flatten",
                "config": {"name": "flat", "data_format": "channels_last"},
                "name": "flat",
                "inbound_nodes": [[["times", 0, 0, {}]]],
            },
            {
                "class_name": "Dense",
                "config": {
                    "name": "out",
                    "trainable": True,
                    "units": 10,
                    "activation": "softmax",
                    "kernel_initializer": {"class_name": "GlorotUniform", "config": {"seed": None}},
                },
                "name": "out",
                "inbound_nodes": [[["flat", 0, 0, {}]]],
            },
        ],
        "input_layers": [["in", 0, 0]],
        "output_layers": [["out", 0, 0]],
    },
    "keras_version": "2.15.0",
    "backend": "tensorflow",
}
"""A functional network as Keras 2 writes it: nodes are nested lists, and the shape is a `batch_input_shape`."""


def to_document(network: keras.Model) -> Json:
    """Return the JSON that `Model.to_json` writes, as a dictionary."""
    document: Json = json.loads(network.to_json())
    return document


@pytest.mark.parametrize("make", [make_sequential, make_two_branches])
def test_a_network_is_rebuilt_from_its_keras_json(make: Any) -> None:
    original = make()

    network = build_network(NetworkSpec(keras=to_document(original)), (8, 8, 1), "network")

    network.set_weights(original.get_weights())
    images = np.random.default_rng(0).random((3, 8, 8, 1), np.float32)
    assert np.allclose(network(images), original(images), atol=1e-6)
    assert list_names(network) == list_names(original)


def list_names(network: keras.Model) -> list[str]:
    """Return the names of layers and operators. Leaves out the input layer, which `build_network` names."""
    parts = network.layers if isinstance(network, keras.Sequential) else network.operations
    return [part.name for part in parts if not isinstance(part, keras.layers.InputLayer)]


@on_sqlite
@pytest.mark.parametrize(
    "document",
    [to_document(make_sequential()), make_sequential().to_json(), to_document(make_two_branches()), KERAS_2],
    ids=["sequential", "sequential as text", "two branches", "keras 2"],
)
def test_a_network_from_keras_json_is_trained_and_served(
    http: FlaskClient, worker: InProcessWorker, document: Json | str
) -> None:
    spec = changed(DIGITS, "network", {"keras": document})
    plan = http.post("/api/v1/jobs?dry_run=true", json=spec).json

    job = http.post("/api/v1/jobs", json=spec).json
    worker.run_all()

    assert http.get(f"/api/v1/jobs/{job['id']}").json["error"] is None
    version = http.get("/api/v1/models/digits/versions/1").json
    assert version["parameters"] == plan["parameters"] == sum(row["parameters"] for row in plan["layers"])
    blank = [[0] * 8] * 8
    answer = http.post("/api/v1/models/digits/predictions?top=10", json={"instances": [blank]}).json
    assert len(answer["predictions"][0]["top"]) == 10


def damage(path: str, value: object, document: Json | None = None) -> Json:
    """Return a copy of a Keras document, by default of the two branches, with the value at `path` replaced."""
    copy = deepcopy(document or to_document(make_two_branches()))
    *parents, last = path.split("/")
    here: Any = copy
    for part in parents:
        here = here[int(part)] if isinstance(here, list) else here[part]
    here[int(last) if isinstance(here, list) else last] = value
    return copy


CONVOLUTION = "config/layers/1"
ROOT = "#/network/keras"


@on_sqlite
@pytest.mark.parametrize(
    ("document", "pointer", "detail"),
    [
        ({}, f"{ROOT}/class_name", "neither Sequential"),
        ({"class_name": "Sequential"}, f"{ROOT}/config", "mapping"),
        ({"class_name": "Sequential", "config": {"layers": []}}, f"{ROOT}/config/layers", "1 to 500"),
        ({"class_name": "Sequential", "config": {"layers": [3]}}, f"{ROOT}/config/layers/0", "mapping"),
        (damage("config/layers", [{}] * 501), f"{ROOT}/config/layers", "1 to 500"),
        (damage(f"{CONVOLUTION}/class_name", "Lambda"), f"{ROOT}/{CONVOLUTION}/class_name", "'Lambda'"),
        (damage(f"{CONVOLUTION}/class_name", "TFSMLayer"), f"{ROOT}/{CONVOLUTION}/class_name", "'TFSMLayer'"),
        (damage(f"{CONVOLUTION}/class_name", None), f"{ROOT}/{CONVOLUTION}/class_name", "Keras class"),
        (
            damage(f"{CONVOLUTION}/registered_name", "mine>Conv2D"),
            f"{ROOT}/{CONVOLUTION}/registered_name",
            "'mine>Conv2D'",
        ),
        (
            damage(f"{CONVOLUTION}/config/activation", {"class_name": "function", "config": "swoosh"}),
            f"{ROOT}/{CONVOLUTION}/config/activation",
            "'swoosh'",
        ),
        (
            damage(f"{CONVOLUTION}/config/kernel_initializer", {"class_name": "Lambda", "config": {"f": "x"}}),
            f"{ROOT}/{CONVOLUTION}/config/kernel_initializer/name",
            "'Lambda'",
        ),
        (
            damage(f"{CONVOLUTION}/config/kernel_regularizer", {"class_name": "L2", "registered_name": "my>L2"}),
            f"{ROOT}/{CONVOLUTION}/config/kernel_regularizer/registered_name",
            "'my>L2'",
        ),
        (
            damage(f"{CONVOLUTION}/config/data_format", "channels_first"),
            f"{ROOT}/{CONVOLUTION}/config/data_format",
            "channels_last",
        ),
        (
            damage(f"{CONVOLUTION}/config/layer", {"class_name": "Dense"}),
            f"{ROOT}/{CONVOLUTION}/config/layer",
            "no argument 'layer'",
        ),
        (damage(f"{CONVOLUTION}/config/filters", "many"), f"{ROOT}/{CONVOLUTION}/config", "cannot be created"),
        (
            damage("config/layers/0/config/batch_shape", [None, 28, 28, 1]),
            f"{ROOT}/config/layers/0/config/batch_shape",
            "[8, 8, 1]",
        ),
        (damage("config/output_layers", []), f"{ROOT}/config/output_layers", "one output"),
        (damage("config/output_layers", ["nowhere", 0, 0]), f"{ROOT}/config/output_layers", "nowhere"),
        (damage(f"{CONVOLUTION}/inbound_nodes", []), f"{ROOT}/{CONVOLUTION}", "No path leads"),
        (
            damage("config/layers/4/inbound_nodes", [[["out", 0, 0, {}]]], KERAS_2),
            f"{ROOT}/config/layers/4",
            "No path leads",
        ),
        (
            damage("config/layers/1/inbound_nodes", [[["in", 0, 0, {"training": True}]]], KERAS_2),
            f"{ROOT}/config/layers/1/inbound_nodes/0",
            "only its inputs",
        ),
        (damage("config/layers/4/config/units", 7, KERAS_2), f"{ROOT}/config/layers/4", "need 10"),
        (damage("config/layers/4/config/activation", None, KERAS_2), f"{ROOT}/config/layers/4", "softmax"),
    ],
)
def test_invalid_keras_json_is_refused_with_a_pointer(
    http: FlaskClient, document: Json, pointer: str, detail: str
) -> None:
    answer = http.post("/api/v1/jobs", json=changed(DIGITS, "network", {"keras": document}))

    assert answer.status_code == 422, answer.text
    assert answer.json["errors"][0]["pointer"] == pointer
    assert detail in answer.json["errors"][0]["detail"]


def test_a_mask_that_no_layer_makes_is_refused() -> None:
    """A network without it would compute something else."""
    indices = keras.Input((4,))
    vectors = keras.layers.Embedding(5, 3)(indices)
    nowhere = keras.ops.zeros_like(indices, dtype="bool")
    pooled = keras.layers.GlobalAveragePooling1D()(vectors, mask=nowhere)
    document = json.loads(keras.Model(indices, keras.layers.Dense(2)(pooled)).to_json())

    with pytest.raises(InvalidRequest) as refused:
        parse_keras_json(document, 100)

    assert "ZerosLike" in refused.value.faults[0].detail or "mask" in refused.value.faults[0].detail
