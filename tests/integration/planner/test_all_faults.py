"""Test that all faults of a spec are told at once, and where they stand."""

from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.support.examples import DIGITS, changed
from tests.support.problems import assert_problem

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
SPEC = """# a comment
model: digits
dataset:
  name: digits
network:
  layers:
    - {layer: Flatten}
    - layer: Dens
      units: 10
training:
  epocs: 3
  optimizer: adam
"""


def read_faults(http: FlaskClient, text: str) -> list[dict[str, Any]]:
    """Send a spec as YAML, and return its faults."""
    answer = http.post("/api/v1/jobs?dry_run=true", data=text, content_type="application/yaml")
    faults: list[dict[str, Any]] = answer.json["errors"]
    return faults


def test_an_unknown_key_does_not_hide_a_fault_of_a_layer(http: FlaskClient) -> None:
    layer, key = read_faults(http, SPEC)

    assert (layer["pointer"], layer["line"], layer["column"]) == ("#/network/layers/1/layer", 8, 7)
    assert "'Dense'" in layer["detail"]
    assert (key["pointer"], key["line"], key["column"]) == ("#/training/epocs", 11, 3)
    assert "'epochs'" in key["detail"]


def test_a_value_that_is_not_allowed_hides_no_fault_of_a_layer(http: FlaskClient) -> None:
    layer, epochs = read_faults(http, SPEC.replace("epocs: 3", "epochs: -3"))

    assert (layer["pointer"], layer["line"]) == ("#/network/layers/1/layer", 8)
    assert (epochs["pointer"], epochs["line"]) == ("#/training/epochs", 11)


def test_what_follows_from_a_fault_is_not_told(http: FlaskClient) -> None:
    (fault,) = read_faults(
        http, SPEC.replace("name: digits", "name: 3").replace("Dens\n", "Dense\n").replace("epocs", "epochs")
    )

    assert fault["pointer"] == "#/dataset/name"


def test_a_name_at_fault_hides_no_fault_of_a_layer(http: FlaskClient) -> None:
    faults = read_faults(http, SPEC.replace("model: digits", "model: A b").replace("epocs", "epochs"))

    assert [fault["pointer"] for fault in faults] == ["#/model", "#/network/layers/1/layer"]


def test_every_layer_and_the_optimizer_are_told(http: FlaskClient) -> None:
    text = SPEC.replace("layer: Flatten", "layer: Flaten").replace("epocs", "epochs").replace("adam", "Adm")
    faults = read_faults(
        http, text.replace("    - layer: Dens\n", "    - {layer: Dense, unit: 3}\n    - layer: Dens\n")
    )

    assert [fault["pointer"] for fault in faults] == [
        "#/network/layers/0/layer",
        "#/network/layers/1/unit",
        "#/network/layers/2/layer",
        "#/training/optimizer/name",
    ]
    assert all("Did you mean" in fault["detail"] for fault in faults)


def test_other_forms_of_a_value_are_not_told(http: FlaskClient) -> None:
    faults = read_faults(
        http, "preprocessing: {size: [0, 3]}\n" + SPEC.replace("epocs", "epochs").replace("Dens\n", "Dense\n")
    )

    assert [fault["pointer"] for fault in faults] == ["#/preprocessing/size/0"]


def test_what_is_no_mapping_is_told_in_words(http: FlaskClient) -> None:
    (document,) = read_faults(http, "- a\n- b\n")
    (network,) = read_faults(http, "model: a\ndataset: {name: digits}\nnetwork: 3\n")

    assert "not a mapping. Write a mapping with keys such as" in document["detail"]
    assert (network["pointer"], network["detail"]) == ("#/network", "'3' is not a mapping. Write a mapping.")


def test_a_missing_argument_and_an_unknown_activation_are_told_in_words(http: FlaskClient) -> None:
    layers = "    - {layer: Flatten}\n    - {layer: Dense}\n    - {layer: Dense, units: 10, activation: sofmax}\n"
    start = SPEC.index("    - {layer: Flatten}")
    missing, unknown = read_faults(http, SPEC[:start] + layers + "training: {epochs: 2}\n")

    assert missing["detail"] == "Dense cannot be created: 'units' must be given."
    assert "There is no activation 'sofmax'. Did you mean 'softmax'?" in unknown["detail"]


def test_a_missing_key_has_the_line_of_what_lacks_it(http: FlaskClient) -> None:
    (fault,) = read_faults(http, SPEC.replace("epocs", "epochs").replace("layer: Dens\n      units: 10", "units: 10"))

    assert (fault["pointer"], fault["line"]) == ("#/network/layers/1/layer", 8)


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [("model: [\n", 2, 1), ("a: 1\nb: : 2\n", 2, 4), ("a: 1\n\tb: 2\n", 2, 1)],
    ids=["unclosed", "two colons", "a tab"],
)
def test_yaml_that_cannot_be_read_has_its_line(http: FlaskClient, text: str, line: int, column: int) -> None:
    answer = http.post("/api/v1/jobs", data=text, content_type="application/yaml")

    (fault,) = assert_problem(answer, 400, "malformed-request")["errors"]
    assert (fault["line"], fault["column"]) == (line, column)


def test_faults_of_json_have_no_line(http: FlaskClient) -> None:
    spec = changed(changed(DIGITS, "trainin", {}), "network.layers.0", {"layer": "Conv2", "filters": 3})

    faults = http.post("/api/v1/jobs", json=spec).json["errors"]

    assert {fault["pointer"] for fault in faults} == {"#/trainin", "#/network/layers/0/layer"}
    assert all("line" not in fault and "column" not in fault for fault in faults)


def test_data_that_are_missing_are_told_with_the_unknown_keys(http: FlaskClient) -> None:
    data, layer, key = read_faults(http, SPEC.replace("name: digits", "name: nobody"))

    assert (data["pointer"], data["line"]) == ("#/dataset/name", 4)
    assert layer["pointer"] == "#/network/layers/1/layer"
    assert key["pointer"] == "#/training/epocs"


def test_layers_inside_of_a_residual_are_told_and_statistics_are_no_fault(http: FlaskClient) -> None:
    layers = """    - {layer: Flatten}
    - {layer: Normalization, mean: 0.5, variance: 2.0}
    - {layer: Residual, layers: [{layer: Dense, units: 64, activaton: relu}, {layer: Danse, units: 64}]}
    - {layer: Dens, units: 10}
"""
    start = SPEC.index("    - {layer: Flatten}")

    faults = read_faults(http, SPEC[:start] + layers + "training: {epochs: 2}\n")

    assert [fault["pointer"] for fault in faults] == [
        "#/network/layers/2/layers/0/activaton",
        "#/network/layers/2/layers/1/layer",
        "#/network/layers/3/layer",
    ]
