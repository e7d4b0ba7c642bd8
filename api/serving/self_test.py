"""Whether a version still answers as it was trained to, and if not, why."""

from api.documents.registry import SelfTest
from shared.database.tables.registry import Version
from shared.errors import ArtifactDamaged, VersionNotServable
from shared.inference.parity import TOLERANCE
from shared.inference.servable import compute_golden_difference, open_servable
from shared.storage.artifacts import ArtifactStore


def run_self_test(version: Version, artifacts: ArtifactStore) -> SelfTest:
    """From the files as they are now, whatever is in memory."""
    try:
        servable = open_servable(version, artifacts)
    except (ArtifactDamaged, VersionNotServable) as error:
        return _make_result(version, samples=0, difference=None, detail=error.detail)
    difference = compute_golden_difference(servable)
    detail = None
    if difference > TOLERANCE:
        detail = f"It answers its golden samples otherwise than Keras did, by more than {TOLERANCE:g}."
    return _make_result(version, len(servable.manifest.golden_samples), difference, detail)


def _make_result(version: Version, samples: int, difference: float | None, detail: str | None) -> SelfTest:
    return SelfTest(
        model=version.model,
        version=version.number,
        passed=detail is None,
        samples=samples,
        difference=difference,
        tolerance=TOLERANCE,
        detail=detail,
    )
