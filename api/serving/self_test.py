"""Test whether a version still reproduces the outputs of its golden samples."""

from api.documents.registry import SelfTest
from shared.database.tables.registry import Version
from shared.errors import ArtifactDamaged, VersionNotServable
from shared.inference.parity import TOLERANCE
from shared.inference.servable import compute_golden_difference, open_servable
from shared.storage.artifacts import ArtifactStore


def run_self_test(version: Version, artifacts: ArtifactStore) -> SelfTest:
    """Load a version from its files and compare its outputs for the golden samples with those of Keras.

    A copy in memory is not used, so that the test also finds damaged files. The result contains the error in `detail`
    if the version cannot be loaded.
    """
    try:
        servable = open_servable(version, artifacts)
    except (ArtifactDamaged, VersionNotServable) as error:
        return _make_result(version, samples=0, difference=None, detail=error.detail)
    difference = compute_golden_difference(servable)
    detail = None
    if difference > servable.tolerance:
        detail = (
            f"The outputs for the golden samples differ by {difference:.2g} from those of Keras. "
            f"The limit is {servable.tolerance:.2g}. Train the version again."
        )
    return _make_result(version, len(servable.manifest.golden_samples), difference, detail, servable.tolerance)


def _make_result(
    version: Version, samples: int, difference: float | None, detail: str | None, tolerance: float = TOLERANCE
) -> SelfTest:
    return SelfTest(
        model=version.model,
        version=version.number,
        passed=detail is None,
        samples=samples,
        difference=difference,
        tolerance=tolerance,
        detail=detail,
    )
