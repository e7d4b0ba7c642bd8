"""Train a recipe as a notebook does, without the service.

`python -m tests.benchmarks.bare_fit <recipe> <epochs>` prints CPU seconds and elapsed seconds, from loading the data
to the last metric, without imports.
"""

import sys
import time
from math import ceil
from pathlib import Path

import keras
import numpy as np
from ruamel.yaml import YAML

from shared.datasets import splits
from shared.networks.builder import build_network
from shared.networks.metrics import make_metrics
from shared.networks.objectives import choose_objective
from shared.networks.optimizers import make_optimizer
from shared.spec.training import TrainingSpec
from tests.support.stacks import ROOT, datasets_dir


def fit(recipe: Path, epochs: int) -> None:
    spec = TrainingSpec.model_validate(YAML(typ="safe").load(recipe.read_text()))
    training = spec.training
    data = splits.load_dataset(spec.dataset, training.seed, datasets_dir())
    x, validation_x, test_x = (
        np.divide(part.array, 255, dtype=np.float32) for part in (data.train, data.validation, data.test)
    )
    keras.utils.set_random_seed(training.seed)
    network = build_network(spec.network, x.shape[1:], spec.model)
    objective = choose_objective(training.loss, data.info, spec.network, network.output_shape[1:])
    network.compile(
        make_optimizer(training, epochs * ceil(len(x) / training.batch_size)),
        objective.loss,
        metrics=make_metrics(training.metrics, objective),
    )
    network.fit(
        x,
        objective.encode_labels(data.train.y),
        batch_size=training.batch_size,
        epochs=epochs,
        validation_data=(validation_x, objective.encode_labels(data.validation.y)),
        verbose=0,
    )
    network.evaluate(test_x, objective.encode_labels(data.test.y), verbose=0)


if __name__ == "__main__":
    cpu_started, started = time.process_time(), time.monotonic()
    fit(ROOT / "recipes" / f"{sys.argv[1]}.yaml", int(sys.argv[2]))
    print(time.process_time() - cpu_started, time.monotonic() - started)
