"""Prepare the data of a version as inputs of its network."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.datasets import splits
from shared.datasets.row_files import MappedRows
from shared.networks.objectives import Objective, choose_objective
from shared.registry.manifest import ManifestFile
from shared.spec.network import NetworkSpec
from shared.spec.training import LossSpec, TrainingSpec
from worker.context import WorkerContext
from worker.training.input.preparation import prepare_rows


@dataclass(frozen=True)
class VersionData:
    """Rows of the training part and of the test part.

    Attributes:
        train: inputs of the network, (n, *input_shape) float32.
        train_labels: their labels, (n,) int64 or (n, k) float32.
        objective: the meaning of the labels.
    """

    train: NDArray[np.float32]
    train_labels: NDArray[Any]
    test: NDArray[np.float32]
    test_labels: NDArray[Any]
    objective: Objective


def prepare_version_data(
    context: WorkerContext,
    manifest: ManifestFile,
    dataset: splits.Dataset,
    check: Callable[[], None],
    max_train: int,
    max_test: int,
) -> VersionData:
    """Prepare at most so many rows of each part of the data set of a version, at equal distances.

    `check` is called between batches of images, and may raise. Raises DatasetUnavailable.
    """
    loss = TrainingSpec.model_validate(manifest.lineage.spec).training.loss
    contract = manifest.preprocessing

    def prepare(part: splits.Part, limit: int) -> tuple[NDArray[np.float32], NDArray[Any]]:
        folder = context.cache_dir / "prepared"
        prepared = prepare_rows(part.x, contract, dataset.digest, context.decoder, folder, check)
        rows = np.linspace(0, max(len(part) - 1, 0), min(len(part), limit)).astype(np.int64)
        values = prepared.read(rows) if isinstance(prepared, MappedRows) else prepared[rows]
        return contract.normalisation.apply(values.astype(np.float32)), part.y[rows]

    declared = NetworkSpec.model_construct(layers=None, keras=manifest.architecture, from_=None, freeze=())
    objective = choose_objective(
        loss.name if isinstance(loss, LossSpec) else loss,  # `from_logits`: the network has its activation by now
        dataset.info,
        declared,
        manifest.signature.outputs[0].shape[1:],
    )
    return VersionData(*prepare(dataset.train, max_train), *prepare(dataset.test, max_test), objective)
