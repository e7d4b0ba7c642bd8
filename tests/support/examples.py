"""Define small specs that tests modify by `changed`."""

from copy import deepcopy
from typing import Any

Json = dict[str, Any]

DENSE_SOFTMAX = {"layer": "Dense", "units": 10, "activation": "softmax"}
DIGITS: Json = {
    "model": "digits",
    "dataset": {"name": "digits", "limit": 200},
    "preprocessing": {"size": "data"},
    "network": {"layers": [{"layer": "Flatten"}, DENSE_SOFTMAX]},
    "training": {"epochs": 2, "batch_size": 32, "optimizer": {"name": "Adam", "learning_rate": 0.01}},
}
XOR: Json = {
    "model": "xor",
    "dataset": {"inline": {"x": [[0, 0], [0, 1], [1, 0], [1, 1]], "y": [[0], [1], [1], [0]]}},
    "network": {
        "layers": [
            {"layer": "Dense", "units": 4, "activation": "tanh"},
            {"layer": "Dense", "units": 1, "activation": "sigmoid"},
        ]
    },
    "training": {"epochs": 2, "loss": "binary_crossentropy"},
}
LINE: Json = {
    "model": "line",
    "dataset": {"inline": {"x": [1, 2, 3], "y": [2, 2.5, 3.5]}},
    "network": {"layers": [{"layer": "Dense", "units": 1}]},
    "training": {"epochs": 400, "optimizer": {"name": "Adam", "learning_rate": 0.1}, "loss": "mse"},
}
IRIS: Json = {
    "model": "iris",
    "dataset": {"name": "iris"},
    "preprocessing": {"scale": "standardize"},
    "network": {
        "layers": [
            {"layer": "Dense", "units": 16, "activation": "relu"},
            {"layer": "Dense", "units": 3, "activation": "softmax"},
        ]
    },
    "training": {"epochs": 20, "batch_size": 16, "optimizer": {"name": "Adam", "learning_rate": 0.02}},
}


def changed(spec: Json, path: str, value: object) -> Json:
    """Return a deep copy with the value at a path such as `a.b.0.c` set. Missing dictionaries are added."""
    copy = deepcopy(spec)
    *parents, last = path.split(".")
    container: Any = copy
    for part in parents:
        container = container[int(part)] if isinstance(container, list) else container.setdefault(part, {})
    if isinstance(container, list):
        container[int(last)] = value
    else:
        container[last] = value
    return copy


CONVOLUTIONAL_LAYERS = [
    {"layer": "Conv2D", "filters": 32, "kernel_size": 3},
    {"layer": "BatchNormalization"},
    {"layer": "Flatten"},
    {"layer": "Dropout", "rate": 0.3},
    DENSE_SOFTMAX,
]
DETERMINISTIC_TRAINING = {
    "epochs": 4,
    "batch_size": 32,
    "deterministic": True,
    "optimizer": {"name": "Adam", "learning_rate": 0.01},
}
KEEP_BEST: Json = {
    **DIGITS,
    "model": "best",
    "network": {"layers": CONVOLUTIONAL_LAYERS},
    "training": {**DETERMINISTIC_TRAINING, "keep": {"best": "loss"}},
}
REVIEWS: Json = {
    "model": "reviews",
    "dataset": {"name": "reviews_english", "validation": {"split": 0}},
    "preprocessing": {"text": {"vocabulary": 300, "length": 12}},
    "network": {
        "layers": [
            {"layer": "Embedding", "input_dim": 300, "output_dim": 8},
            {"layer": "GlobalAveragePooling1D"},
            {"layer": "Dense", "units": 1, "activation": "sigmoid"},
        ]
    },
    "training": {"epochs": 60, "batch_size": 32, "optimizer": {"name": "Adam", "learning_rate": 0.05}},
}
