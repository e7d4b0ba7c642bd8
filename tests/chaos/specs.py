"""Define the specs of the chaos test: each trains within seconds and is deterministic."""

from tests.support.examples import DENSE_SOFTMAX, IRIS, Json

_TRAINING: Json = {
    "batch_size": 16,
    "deterministic": True,
    "optimizer": {"name": "Adam", "learning_rate": 0.003},
    "precision": "float32",
}
_LAYERS: list[Json] = [
    {"layer": "Conv2D", "filters": 32, "kernel_size": 3, "activation": "relu"},
    {"layer": "BatchNormalization"},
    {"layer": "Flatten"},
    {"layer": "Dropout", "rate": 0.4},
    DENSE_SOFTMAX,
]
_DIGITS: Json = {
    "dataset": {"name": "digits", "limit": 600},
    "preprocessing": {"size": "data"},
    "network": {"layers": _LAYERS},
}
SPECS: dict[str, Json] = {
    "convolution": {**_DIGITS, "model": "convolution", "training": {**_TRAINING, "epochs": 12}},
    "augmented": {
        **_DIGITS,
        "model": "augmented",
        "augmentation": [{"layer": "RandomTranslation", "height_factor": 0.1, "width_factor": 0.1}],
        "training": {
            **_TRAINING,
            "epochs": 10,
            "learning_rate_schedule": {"name": "CosineDecay"},
            "early_stopping": {"monitor": "val_loss", "patience": 8, "restore_best": True},
        },
    },
    "light": {**IRIS, "model": "light", "training": {**IRIS["training"], "deterministic": True, "epochs": 3000}},
    "best": {**_DIGITS, "model": "best", "training": {**_TRAINING, "epochs": 8, "keep": {"best": "val_loss"}}},
}
