"""Load the data set that a spec names."""

from shared.datasets import revisions, splits
from shared.datasets.stored_inline import read_stored_inline
from shared.spec.dataset import DatasetSpec
from shared.spec.training import TrainingSpec
from worker.context import WorkerContext


def load_spec_dataset(context: WorkerContext, spec: TrainingSpec) -> tuple[splits.Dataset, tuple[str, ...]]:
    """Load the data of a spec, and the names of the columns of an uploaded table; none for other data.

    Raises DatasetNotFound, DatasetUnavailable, DatasetDoesNotFit or ArtifactDamaged.
    """
    return load_data(context, spec.dataset, spec.training.seed)


def load_data(context: WorkerContext, dataset: DatasetSpec, seed: int) -> tuple[splits.Dataset, tuple[str, ...]]:
    """Load the data that the `dataset` part of a spec selects, as `load_spec_dataset` does."""
    with context.sessions() as session:
        revision = revisions.find_spec_revision(session, dataset)
        validation = revisions.find_validation_revision(session, dataset)
    uploaded, other = (
        revisions.open_revision(one, context.artifacts, context.cache_dir / "uploaded") if one is not None else None
        for one in (revision, validation)
    )
    selected = read_stored_inline(dataset, context.artifacts)
    loaded = splits.load_dataset(selected, seed, context.datasets_dir, uploaded, other)
    return loaded, tuple(revision.description["columns"]) if revision is not None else ()
