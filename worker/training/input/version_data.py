"""Load the data of a version again, as inputs of its network."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.datasets import revisions, splits
from shared.datasets.row_files import MappedRows
from shared.datasets.stored_inline import read_stored_inline
from shared.networks.objectives import Objective, choose_objective
from shared.registry.manifest import ManifestFile
from shared.spec.network import NetworkSpec
from shared.spec.training import LossSpec, TrainingSpec
from worker.context import WorkerContext
from worker.training.input.image_cache import load_prepared


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


def load_version_data(
    context: WorkerContext, manifest: ManifestFile, check: Callable[[], None], max_train: int, max_test: int
) -> VersionData:
    """Load at most so many rows of each part, at equal distances.

    `check` is called between batches of images, and may raise. Raises DatasetUnavailable or DatasetNotFound.
    """
    spec = TrainingSpec.model_validate(manifest.lineage.spec)
    with context.sessions() as session:
        found = revisions.find_spec_revision(session, spec.dataset)
        other = revisions.find_validation_revision(session, spec.dataset)
    uploaded, validation = (
        revisions.open_revision(one, context.artifacts, context.cache_dir / "uploaded") if one is not None else None
        for one in (found, other)
    )
    selected = read_stored_inline(spec.dataset, context.artifacts)
    dataset = splits.load_dataset(selected, spec.training.seed, context.datasets_dir, uploaded, validation)
    contract = manifest.preprocessing

    def prepare(part: splits.Part, limit: int) -> tuple[NDArray[np.float32], NDArray[Any]]:
        folder = context.cache_dir / "prepared"
        prepared = load_prepared(part.x, contract, dataset.digest, context.decoder, folder, check)
        rows = np.linspace(0, max(len(part) - 1, 0), min(len(part), limit)).astype(np.int64)
        values = prepared.read(rows) if isinstance(prepared, MappedRows) else prepared[rows]
        return contract.normalisation.apply(values.astype(np.float32)), part.y[rows]

    declared = NetworkSpec.model_construct(layers=None, keras=manifest.architecture, from_=None, freeze=())
    loss = spec.training.loss
    objective = choose_objective(
        loss.name if isinstance(loss, LossSpec) else loss,  # `from_logits`: the network has its activation by now
        dataset.info,
        declared,
        manifest.signature.outputs[0].shape[1:],
    )
    return VersionData(*prepare(dataset.train, max_train), *prepare(dataset.test, max_test), objective)
