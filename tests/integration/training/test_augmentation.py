"""Test what augmentation does to a batch and to a training."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from flask.testing import FlaskClient

from shared.datasets.info import DatasetInfo, TargetKind
from shared.networks.augmentation import AUGMENTATIONS, make_augmentation_layers
from shared.preprocessing.contract import build_contract
from shared.spec.network import LayerSpec
from shared.spec.preprocessing import Preprocessing
from tests.support.examples import DIGITS, changed
from tests.support.worker import InProcessWorker
from worker.training.input.augmentation import augment

SEED = 7
COLOR = DatasetInfo((16, 16, 3), images=True, targets=TargetKind.CLASSES, train_rows=8, test_rows=0)
IMAGES = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3)).astype(np.float32)
ARGUMENTS: dict[str, dict[str, Any]] = {
    "RandomTranslation": {"height_factor": 0.3, "width_factor": 0.3},
    "RandomZoom": {"height_factor": 0.3},
    "RandomShear": {"x_factor": 0.3, "y_factor": 0.3},
    "RandomFlip": {},
    "RandomPosterization": {"factor": 4},
    "AutoContrast": {},
}


def augment_images(name: str, step: int, seed: int = SEED) -> np.ndarray:
    """Return IMAGES, (8, 16, 16, 3) float32, as one augmentation layer changes them in a training step."""
    spec = LayerSpec.model_validate({"layer": name, **ARGUMENTS.get(name, {"factor": 0.5})})
    layers = make_augmentation_layers([spec], build_contract(Preprocessing(size="data"), COLOR))
    changed_images: np.ndarray = augment(layers, tf.constant(IMAGES), seed, tf.constant(step, tf.int64)).numpy()
    return changed_images


@pytest.mark.parametrize("name", sorted(AUGMENTATIONS))
def test_augmentation_depends_only_on_seed_and_step(name: str) -> None:
    first, again, later = augment_images(name, 3), augment_images(name, 3), augment_images(name, 4)

    assert first.shape == IMAGES.shape
    assert 0 <= first.min() <= first.max() <= 255
    assert np.array_equal(first, again)
    assert not np.array_equal(first, IMAGES)
    if name != "AutoContrast":  # the only layer without randomness
        assert not np.array_equal(first, later)
        assert not np.array_equal(first, augment_images(name, 3, seed=8))


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_augmentation_changes_the_training_but_not_the_preprocessing(
    http: FlaskClient, worker: InProcessWorker
) -> None:
    layers = [{"layer": "RandomTranslation", "height_factor": 0.2, "width_factor": 0.2}, {"layer": "RandomFlip"}]
    spec = changed(DIGITS, "augmentation", layers)
    for each in (DIGITS, spec, spec):
        http.post("/api/v1/jobs", json=each)
    worker.run_all()

    plain, first, again = (http.get(f"/api/v1/models/digits/versions/{n}").json for n in (1, 2, 3))

    assert first["metrics"] == again["metrics"] != plain["metrics"]
    assert first["preprocessing"] == plain["preprocessing"]
