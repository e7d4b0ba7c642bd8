"""Compare a version with its reproduction, a second training of the same spec."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict

from shared.registry.manifest import Metrics, VersionManifest


class Difference(BaseModel):
    """A value of the version and of its reproduction. None if one of the two does not have it."""

    model_config = ConfigDict(frozen=True)

    recorded: float | str | None
    again: float | str | None


class Reproduction(BaseModel):
    """The result of a reproduction. `metrics` (such as `test.accuracy`) and `libraries` contain only differences."""

    model_config = ConfigDict(frozen=True)

    weights_equal: bool
    data_equal: bool
    metrics: dict[str, Difference]
    libraries: dict[str, Difference]
    precision: Difference | None
    """None if both trainings had the same precision."""


def compare_versions(recorded: VersionManifest, again: VersionManifest) -> Reproduction:
    """Compare the manifest of a version with that of its reproduction."""
    same_precision = recorded.precision == again.precision
    return Reproduction(
        weights_equal=recorded.weights_digest == again.weights_digest,
        data_equal=recorded.lineage.dataset.digest == again.lineage.dataset.digest,
        metrics=_find_differences(_flatten(recorded.metrics), _flatten(again.metrics)),
        libraries=_find_differences(recorded.lineage.libraries, again.lineage.libraries),
        precision=None if same_precision else Difference(recorded=recorded.precision, again=again.precision),
    )


def _flatten(metrics: Metrics) -> dict[str, float | None]:
    return {
        f"{part}.{name}": value for part, values in dict(metrics).items() for name, value in dict(values or {}).items()
    }


def _find_differences(
    recorded: Mapping[str, float | str | None], again: Mapping[str, float | str | None]
) -> dict[str, Difference]:
    return {
        name: Difference(recorded=recorded.get(name), again=again.get(name))
        for name in sorted(recorded.keys() | again.keys())
        if recorded.get(name) != again.get(name)
    }
