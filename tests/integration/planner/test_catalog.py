"""Test that the catalog lists what a spec may name, and nothing else."""

import json

import pytest
from flask.testing import FlaskClient

from shared.datasets.builtin import BUILTIN_DATASETS
from shared.networks.allow_list import LAYERS, OWN_LAYERS, WRAPPER_LAYERS
from shared.networks.augmentation import AUGMENTATIONS
from shared.networks.objectives import LOSSES
from shared.networks.optimizers import OPTIMIZERS, SCHEDULES
from tests.support.examples import DIGITS, IRIS, LINE, XOR, Json, changed

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
    assert list_names(catalog, "layers") == LAYERS | OWN_LAYERS | WRAPPER_LAYERS
    assert list_names(catalog, "augmentation") == AUGMENTATIONS
    assert list_names(catalog, "optimizers") == set(OPTIMIZERS)
    assert list_names(catalog, "schedules") == set(SCHEDULES)
    assert list_names(catalog, "losses") == set(LOSSES)
    assert list_names(catalog, "datasets") == set(BUILTIN_DATASETS)


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


@pytest.mark.parametrize(
    ("arguments", "pointer", "found"),
    [
        ({"pieces": 1}, "#/network/layers/1/pieces", "'1' is not a number of pieces. Use 2 to 16."),
        ({"pieces": "2"}, "#/network/layers/1/pieces", "is not a number of pieces"),
        ({"pieces": 2**40}, "#/network/layers", "The limit is 500"),
        ({"units": None}, "#/network/layers/1", "Maxout cannot be created"),
        ({"activation": "relu"}, "#/network/layers/1/activation", "is an activation itself"),
        ({"name": 5}, "#/network/layers/1/name", "'5' is not a layer name"),
        ({"name": "a b"}, "#/network/layers/1/name", "'a b' is not a layer name"),
    ],
)
def test_arguments_of_maxout_are_checked(http: FlaskClient, arguments: Json, pointer: str, found: str) -> None:
    layer = {"layer": "Maxout", "units": 4, **arguments}
    layers = [{"layer": "Flatten"}, layer, {"layer": "Dense", "units": 10, "activation": "softmax"}]
    answer = http.post("/api/v1/jobs?dry_run=true", json=changed(DIGITS, "network.layers", layers))

    assert answer.status_code == 422, answer.text
    assert answer.json["errors"][0]["pointer"] == pointer
    assert found in answer.json["errors"][0]["detail"]


def test_layers_of_maxout_have_its_name(http: FlaskClient) -> None:
    tail = [{"layer": "Maxout", "units": 4, "name": None}, {"layer": "Dense", "units": 10, "activation": "softmax"}]
    layers = [{"layer": "Flatten"}, {"layer": "Maxout", "units": 4, "name": "hidden"}, *tail]
    answer = http.post("/api/v1/jobs?dry_run=true", json=changed(DIGITS, "network.layers", layers))

    names = [row["name"] for row in answer.json["layers"]]
    assert names == ["flatten", "hidden_1", "hidden_2", "hidden", "dense", "dense_1", "maximum", "dense_2"]


@pytest.mark.parametrize(
    ("layers", "pointer", "found"),
    [
        (
            [{"layer": "Whitening", "filters": 20}],
            "0/filters",
            "a patch of 3 × 3 pixels with 1 channels has at most 18",
        ),
        ([{"layer": "Whitening", "filters": 7}], "0/filters", "in pairs. Use an even number up to 18."),
        ([{"layer": "Whitening", "filters": 0}], "0", "Whitening cannot be created"),
        ([{"layer": "Whitening", "use_bias": True}], "0/use_bias", "`Whitening` takes filters, kernel_size"),
        ([{"layer": "Whitening", "kernel_size": 9}], "0", "Whitening cannot take inputs of shape (8, 8, 1)"),
        (
            [{"layer": "Whitening", "kernel_size": 32, "padding": "same"}],
            "0/kernel_size",
            "has 1,024 numbers, the limit",
        ),
        ([{"layer": "Whitening", "name": "a b"}], "0/name", "'a b' is not a layer name"),
        ([{"layer": "ReLU"}, {"layer": "Whitening"}], "1", "Make it the first layer, #/network/layers/0."),
        ([{"layer": "Residual", "layers": [{"layer": "Whitening"}]}], "0/layers/0", "Make it the first layer"),
    ],
)
def test_a_whitening_that_cannot_be_is_refused(http: FlaskClient, layers: list[Json], pointer: str, found: str) -> None:
    tail = [{"layer": "Flatten"}, {"layer": "Dense", "units": 10, "activation": "softmax"}]
    answer = http.post("/api/v1/jobs?dry_run=true", json=changed(DIGITS, "network.layers", [*layers, *tail]))

    assert answer.status_code == 422, answer.text
    assert answer.json["errors"][0]["pointer"] == f"#/network/layers/{pointer}"
    assert found in answer.json["errors"][0]["detail"]


def test_a_whitening_is_not_for_rows_of_numbers(http: FlaskClient) -> None:
    layers = [{"layer": "Whitening"}, {"layer": "Dense", "units": 3, "activation": "softmax"}]
    answer = http.post("/api/v1/jobs?dry_run=true", json=changed(IRIS, "network.layers", layers))

    assert answer.status_code == 422
    assert "`Whitening` is for images, and the input has the shape [4]" in answer.json["errors"][0]["detail"]


@pytest.mark.parametrize("saved", ["heaviside", "trainyard>heaviside"])
def test_the_step_in_keras_json_is_read(http: FlaskClient, saved: str) -> None:
    function = {"module": "builtins", "class_name": "function", "config": saved, "registered_name": "function"}
    layers = [
        {"class_name": "Flatten", "config": {"name": "flat"}},
        {"class_name": "Dense", "config": {"units": 4, "activation": function}},
        {"class_name": "Dense", "config": {"units": 10, "activation": "softmax"}},
    ]
    document = {"class_name": "Sequential", "config": {"name": "s", "layers": layers}}
    answer = http.post("/api/v1/jobs?dry_run=true", json=changed(DIGITS, "network", {"keras": document}))

    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("activation", ["heaviside", "hard_sigmoid", "sigmoid"])
def test_one_output_between_0_and_1_tells_two_classes_apart(http: FlaskClient, activation: str) -> None:
    spec = changed(XOR, "network.layers.1", {"layer": "Dense", "units": 1, "activation": activation})
    plan = http.post("/api/v1/jobs?dry_run=true", json={**spec, "training": {}}).json

    assert (plan["classes"], plan["loss"]) == (["0", "1"], "binary_crossentropy")
