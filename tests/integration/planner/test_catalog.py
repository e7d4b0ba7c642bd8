"""Test that the catalog lists what a spec may name, and nothing else."""

import json

import pytest
from flask.testing import FlaskClient

from shared.networks.allow_list import LAYERS, OWN_LAYERS
from shared.networks.augmentation import AUGMENTATIONS
from shared.networks.objectives import LOSSES
from shared.networks.optimizers import OPTIMIZERS, SCHEDULES
from tests.support.examples import DIGITS, LINE, Json, changed

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def catalog(http: FlaskClient) -> Json:
    """Provide the catalog as a client gets it."""
    document: Json = json.loads(http.get("/api/v1/catalog").data)
    return document


def list_names(catalog: Json, kind: str) -> set[str]:
    return {entry["name"] for entry in catalog[kind]}


def get_argument(catalog: Json, kind: str, entry: str, name: str) -> Json:
    """Return an argument without its description, which must not be empty."""
    (found,) = [each for each in catalog[kind] if each["name"] == entry]
    (wanted,) = [each for each in found["arguments"] if each["name"] == name]
    assert wanted.pop("description")
    result: Json = wanted
    return result


def test_everything_a_spec_may_name_is_listed(catalog: Json) -> None:
    assert list_names(catalog, "layers") == LAYERS | OWN_LAYERS
    assert list_names(catalog, "augmentation") == AUGMENTATIONS
    assert list_names(catalog, "optimizers") == set(OPTIMIZERS)
    assert list_names(catalog, "schedules") == set(SCHEDULES)
    assert list_names(catalog, "losses") == set(LOSSES)
    assert list_names(catalog, "datasets") == {"digits", "iris", "breast_cancer", "mnist", "fashion_mnist", "cifar10"}


@pytest.mark.parametrize(
    ("kind", "entry", "name", "expected"),
    [
        ("layers", "Conv2D", "filters", {"type": "integer", "required": True, "default": None}),
        ("layers", "Conv2D", "padding", {"type": "string", "required": False, "default": "valid"}),
        ("layers", "Conv2D", "strides", {"type": "list", "required": False, "default": [1, 1]}),
        ("layers", "Dense", "units", {"type": "integer", "required": True, "default": None}),
        ("layers", "Dense", "activation", {"type": "activation", "required": False, "default": None}),
        (
            "layers",
            "Dense",
            "kernel_initializer",
            {"type": "initializer", "required": False, "default": "glorot_uniform"},
        ),
        ("layers", "Dropout", "rate", {"type": "number", "required": True, "default": None}),
        ("optimizers", "SGD", "learning_rate", {"type": "number", "required": False, "default": 0.01}),
        ("optimizers", "SGD", "nesterov", {"type": "boolean", "required": False, "default": False}),
        ("schedules", "ExponentialDecay", "decay_rate", {"type": "number", "required": True, "default": None}),
    ],
)
def test_arguments_have_types_and_defaults(catalog: Json, kind: str, entry: str, name: str, expected: Json) -> None:
    assert get_argument(catalog, kind, entry, name) == {"name": name, **expected}


def test_arguments_that_a_spec_may_not_set_are_not_listed(catalog: Json) -> None:
    listed = {
        (entry["name"], each["name"])
        for kind in ("layers", "augmentation", "optimizers")
        for entry in catalog[kind]
        for each in entry["arguments"]
    }

    assert not {name for _, name in listed} & {"self", "kwargs", "dtype", "data_format"}
    assert ("RandomFlip", "seed") not in listed
    assert ("Dropout", "seed") in listed


def test_the_planner_accepts_every_listed_loss_and_metric(http: FlaskClient, catalog: Json) -> None:
    for loss in list_names(catalog, "losses"):
        spec = changed(DIGITS if "categorical" in loss else LINE, "training.loss", loss)
        answer = http.post("/api/v1/jobs?dry_run=true", json=spec)
        assert answer.status_code == 200 or "ends in" in answer.json["errors"][0]["detail"], answer.text
    metrics = [
        {"name": entry["name"]}
        | {each["name"]: [0] if each["type"] == "list" else 0.5 for each in entry["arguments"] if each["required"]}
        for entry in catalog["metrics"]
    ]
    metrics = [{**metric, "num_classes": 10} if "num_classes" in metric else metric for metric in metrics]
    for start in range(0, len(metrics), 20):
        spec = changed(DIGITS, "training.metrics", metrics[start : start + 20])
        answer = http.post("/api/v1/jobs?dry_run=true", json=spec)
        assert answer.status_code == 200, answer.text


def test_the_planner_accepts_every_listed_activation(http: FlaskClient, catalog: Json) -> None:
    for activation in catalog["activations"]:
        spec = changed(DIGITS, "network.layers.1", {"layer": "Dense", "units": 10, "activation": activation})
        layers = [*spec["network"]["layers"], {"layer": "Dense", "units": 10, "activation": "softmax"}]
        answer = http.post("/api/v1/jobs?dry_run=true", json=changed(spec, "network.layers", layers))
        assert answer.status_code == 200, activation


@pytest.mark.parametrize("activation", ["glu", "threshold"])
def test_activations_that_layers_cannot_compute_are_refused(http: FlaskClient, activation: str) -> None:
    spec = changed(DIGITS, "network.layers.1", {"layer": "Dense", "units": 10, "activation": activation})
    answer = http.post("/api/v1/jobs?dry_run=true", json=spec)

    assert answer.status_code == 422
    assert answer.json["errors"][0]["pointer"] == "#/network/layers/1/activation"
    assert f"'{activation}' cannot be an activation" in answer.json["errors"][0]["detail"]
