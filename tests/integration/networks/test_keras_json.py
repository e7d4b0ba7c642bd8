"""Networks as Keras prints them."""

import json
from copy import deepcopy
from typing import Any

import keras
import numpy as np
import pytest
from flask.testing import FlaskClient

from shared.networks.builder import build_network
from shared.spec.network import NetworkSpec
from tests.support.examples import DIGITS, Json, changed
from tests.support.worker import InProcessWorker

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def sequential() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(4, 3, activation="relu", kernel_regularizer=keras.regularizers.L2(0.01)),
            keras.layers.BatchNormalization(),
            keras.layers.Flatten(),
            keras.layers.Dense(10, activation="softmax", kernel_initializer="he_normal"),
        ]
    )


def two_branches() -> keras.Model:
    """Two branches that are added, an operator, and a layer that is used twice."""
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


def printed(network: keras.Model) -> Json:
    document: Json = json.loads(network.to_json())
    return document


@pytest.mark.parametrize("make", [sequential, two_branches])
def test_what_keras_prints_is_built_again(make: Any) -> None:
    original = make()

    network = build_network(NetworkSpec(keras=printed(original)), (8, 8, 1), "network")

    network.set_weights(original.get_weights())
    images = np.random.default_rng(0).random((3, 8, 8, 1), np.float32)
    assert np.allclose(network(images), original(images), atol=1e-6)
    assert names(network) == names(original)


def names(network: keras.Model) -> list[str]:
    """Of layers and operators, without the input, which has a name of our own."""
    parts = network.layers if isinstance(network, keras.Sequential) else network.operations
    return [part.name for part in parts if not isinstance(part, keras.layers.InputLayer)]


@on_sqlite
@pytest.mark.parametrize(
    "document",
    [printed(sequential()), sequential().to_json(), printed(two_branches()), KERAS_2],
    ids=["sequential", "as a text", "two branches", "keras 2"],
)
def test_a_network_as_keras_prints_it_is_trained_and_served(
    http: FlaskClient, worker: InProcessWorker, document: Json | str
) -> None:
    spec = changed(DIGITS, "network", {"keras": document})
    table = http.post("/api/v1/jobs?dry_run=true", json=spec).json

    job = http.post("/api/v1/jobs", json=spec).json
    worker.run_all()

    assert http.get(f"/api/v1/jobs/{job['id']}").json["error"] is None
    version = http.get("/api/v1/models/digits/versions/1").json
    assert version["parameters"] == table["parameters"] == sum(row["parameters"] for row in table["layers"])
    blank = [[0] * 8] * 8
    answer = http.post("/api/v1/models/digits/predictions?top=10", json={"instances": [blank]}).json
    assert len(answer["predictions"][0]["top"]) == 10


def spoilt(path: str, value: object, document: Json | None = None) -> Json:
    copy = deepcopy(document or printed(two_branches()))
    *parents, last = path.split("/")
    here: Any = copy
    for part in parents:
        here = here[int(part)] if isinstance(here, list) else here[part]
    here[int(last) if isinstance(here, list) else last] = value
    return copy


CONVOLUTION = "config/layers/1"
AT = "#/network/keras"


@on_sqlite
@pytest.mark.parametrize(
    ("document", "pointer", "said"),
    [
        ({}, f"{AT}/class_name", "neither Sequential"),
        ({"class_name": "Sequential"}, f"{AT}/config", "mapping"),
        ({"class_name": "Sequential", "config": {"layers": []}}, f"{AT}/config/layers", "1 to 500"),
        ({"class_name": "Sequential", "config": {"layers": [3]}}, f"{AT}/config/layers/0", "mapping"),
        (spoilt("config/layers", [{}] * 501), f"{AT}/config/layers", "1 to 500"),
        (spoilt(f"{CONVOLUTION}/class_name", "Lambda"), f"{AT}/{CONVOLUTION}/class_name", "'Lambda'"),
        (spoilt(f"{CONVOLUTION}/class_name", "TFSMLayer"), f"{AT}/{CONVOLUTION}/class_name", "'TFSMLayer'"),
        (spoilt(f"{CONVOLUTION}/class_name", None), f"{AT}/{CONVOLUTION}/class_name", "Keras class"),
        (
            spoilt(f"{CONVOLUTION}/registered_name", "mine>Conv2D"),
            f"{AT}/{CONVOLUTION}/registered_name",
            "'mine>Conv2D'",
        ),
        (
            spoilt(f"{CONVOLUTION}/config/activation", {"class_name": "function", "config": "swoosh"}),
            f"{AT}/{CONVOLUTION}/config/activation",
            "'swoosh'",
        ),
        (
            spoilt(f"{CONVOLUTION}/config/kernel_initializer", {"class_name": "Lambda", "config": {"f": "x"}}),
            f"{AT}/{CONVOLUTION}/config/kernel_initializer/name",
            "'Lambda'",
        ),
        (
            spoilt(f"{CONVOLUTION}/config/kernel_regularizer", {"class_name": "L2", "registered_name": "my>L2"}),
            f"{AT}/{CONVOLUTION}/config/kernel_regularizer/registered_name",
            "'my>L2'",
        ),
        (
            spoilt(f"{CONVOLUTION}/config/data_format", "channels_first"),
            f"{AT}/{CONVOLUTION}/config/data_format",
            "channels_last",
        ),
        (spoilt(f"{CONVOLUTION}/config/layer", {"class_name": "Dense"}), f"{AT}/{CONVOLUTION}/config/layer", "mapping"),
        (spoilt(f"{CONVOLUTION}/config/filters", "many"), f"{AT}/{CONVOLUTION}/config", "cannot be created"),
        (
            spoilt("config/layers/0/config/batch_shape", [None, 28, 28, 1]),
            f"{AT}/config/layers/0/config/batch_shape",
            "[8, 8, 1]",
        ),
        (spoilt("config/output_layers", []), f"{AT}/config/output_layers", "one output"),
        (spoilt("config/output_layers", ["nowhere", 0, 0]), f"{AT}/config/output_layers", "nowhere"),
        (spoilt(f"{CONVOLUTION}/inbound_nodes", []), f"{AT}/{CONVOLUTION}", "No path leads"),
        (
            spoilt("config/layers/4/inbound_nodes", [[["out", 0, 0, {}]]], KERAS_2),
            f"{AT}/config/layers/4",
            "No path leads",
        ),
        (
            spoilt("config/layers/1/inbound_nodes", [[["in", 0, 0, {"training": True}]]], KERAS_2),
            f"{AT}/config/layers/1/inbound_nodes/0",
            "only its inputs",
        ),
        (spoilt("config/layers/4/config/units", 7, KERAS_2), f"{AT}/config/layers/4", "need 10"),
        (spoilt("config/layers/4/config/activation", None, KERAS_2), f"{AT}/config/layers/4", "softmax"),
    ],
)
def test_what_is_no_network_of_keras_is_refused_by_name(
    http: FlaskClient, document: Json, pointer: str, said: str
) -> None:
    answer = http.post("/api/v1/jobs", json=changed(DIGITS, "network", {"keras": document}))

    assert answer.status_code == 422, answer.text
    assert answer.json["errors"][0]["pointer"] == pointer
    assert said in answer.json["errors"][0]["detail"]
