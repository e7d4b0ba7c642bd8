"""Define the spec of a batch prediction."""

from pydantic import Field

from shared.spec.fields import ModelName, Notes, Priority, SpecPart, Tags


class BatchSpec(SpecPart):
    """What was asked for; `dataset` is a revision, `name@number`, and None where a file was sent."""

    model: ModelName
    version: int
    dataset: str | None
    top: int = Field(ge=1)
    priority: Priority
    tags: Tags
    notes: Notes
