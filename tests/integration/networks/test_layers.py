"""Test every layer that a spec may name: the plan equals the built network, and ONNX computes what Keras computes."""

import json
import os
import subprocess
import sys
from typing import Any

import numpy as np
import onnxruntime
import pytest

from api.planner.client import Planner
from api.planner.messages import PlanRequest
from shared.inference.parity import TOLERANCE, compute_max_difference
from shared.networks.allow_list import LAYERS, OWN_LAYERS
from shared.networks.builder import build_network, compute_layer_table
from shared.registry.manifest import INPUT_NAME, OUTPUT_NAME
from shared.spec.network import MAX_LAYERS, NetworkSpec
from shared.spec.training import TrainingSpec
from tests.support.databases import ROOT
from tests.support.examples import DENSE_SOFTMAX, IRIS, changed
from tests.support.layer_stacks import STACKS
from worker.training.export import convert_to_onnx


def test_every_allowed_layer_has_a_test_network() -> None:
    assert {layer["layer"] for _, layer in STACKS} == LAYERS | OWN_LAYERS


def test_the_api_plans_what_the_worker_builds() -> None:
    """Compare the plans of the OpenVINO backend, made without TensorFlow, with the networks that TensorFlow builds."""
    environment = {**os.environ, "KERAS_BACKEND": "openvino", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.support.layer_stacks"]
    process = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, check=True)

    planned = json.loads(process.stdout.splitlines()[-1])

    assert not planned["tensorflow"]
    for (shape, layer), rows in zip(STACKS, planned["tables"], strict=True):
        network = build_network(NetworkSpec.model_validate({"layers": [layer]}), shape, "network")
        assert tuple(rows[-1]["output_shape"]) == network.output_shape[1:], layer
        assert sum(row["parameters"] for row in rows) == network.count_params(), layer


@pytest.mark.parametrize(("shape", "layer"), STACKS, ids=[str(list(layer.values())[:2]) for _, layer in STACKS])
def test_onnx_computes_what_keras_computes(shape: tuple[int, ...], layer: dict[str, Any]) -> None:
    network = build_network(NetworkSpec.model_validate({"layers": [layer]}), shape, "network")
    random = np.random.default_rng(0)
    inputs = random.normal(size=(3, *shape)).astype(np.float32)
    if layer["layer"] == "Embedding":
        inputs = random.integers(0, 50, (3, *shape)).astype(np.float32)

    session = onnxruntime.InferenceSession(convert_to_onnx(network), providers=["CPUExecutionProvider"])
    (outputs,) = session.run([OUTPUT_NAME], {INPUT_NAME: inputs})
    (first,) = session.run([OUTPUT_NAME], {INPUT_NAME: inputs[:1]})

    expected = network(inputs, training=False).numpy()
    assert compute_max_difference(outputs, expected) <= TOLERANCE
    assert compute_max_difference(first, expected[:1]) <= TOLERANCE


def test_a_network_with_the_most_layers_is_planned_and_built(planner: Planner) -> None:
    layers = [{"layer": "Dense", "units": 4}] * (MAX_LAYERS - 1) + [{**DENSE_SOFTMAX, "units": 3}]
    spec = TrainingSpec.model_validate(changed(IRIS, "network.layers", layers))

    plan = planner.plan(PlanRequest(spec=spec))

    assert build_network(spec.network, (4,), "network").count_params() == plan.parameters


def test_the_layer_table_of_a_huge_network_allocates_no_weights() -> None:
    network = NetworkSpec.model_validate({"layers": [{"layer": "Dense", "units": 10**9}]})

    (row,) = compute_layer_table(network, (1000,), 10**13)

    assert row.parameters == 1000 * 10**9 + 10**9
