"""Define the activations that Keras does not have."""

import inspect
from typing import Any

import keras

from shared.networks.allow_list import PACKAGE


@keras.saving.register_keras_serializable(PACKAGE)  # type: ignore[untyped-decorator]
def heaviside(x: Any) -> Any:  # noqa: ANN401 - keras is untyped
    """Return 0 for numbers below zero and 1 for all others. Its gradient is 0 everywhere."""
    return 1 - keras.ops.relu(keras.ops.sign(-x))  # comparisons would have no gradient, and Keras would refuse to train


OWN_ACTIVATIONS = {"heaviside": heaviside}
"""Activations of Trainyard, by the name in a spec."""
UNUSABLE_ACTIVATIONS = {
    "glu": "it halves the number of outputs, which no layer of Keras expects. Use `silu`.",
    "threshold": "it needs two numbers. Use the layer `ReLU` with `threshold`.",
}
"""Functions of keras.activations that a network cannot compute, with the reason and the remedy."""


def list_activations() -> list[str]:
    """List the names of all activations that a spec can name."""
    known = (
        name
        for name, function in inspect.getmembers(keras.activations, inspect.isfunction)
        if name not in {"get", "serialize", "deserialize", *UNUSABLE_ACTIVATIONS}
        and keras.activations.get(name) is function
    )
    return sorted({*known, *OWN_ACTIVATIONS})


def get_activation(name: str) -> Any:  # noqa: ANN401 - a function on tensors
    """Return an activation by its name. Raises ValueError for an unknown one."""
    return OWN_ACTIVATIONS.get(name) or keras.activations.get(name)
