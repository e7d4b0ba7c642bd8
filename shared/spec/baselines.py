"""Define the spec of a job that computes the baselines of a version."""

from shared.spec.fields import ModelName, Notes, Priority, SpecPart, Tags


class BaselineSpec(SpecPart):
    """The request for the baselines of a version."""

    model: ModelName
    version: int
    priority: Priority
    tags: Tags
    notes: Notes
