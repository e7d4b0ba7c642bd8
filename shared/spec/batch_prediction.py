"""Define the spec of a batch prediction."""

from pydantic import Field

from shared.spec.fields import ModelName, Notes, Priority, SpecPart, Tags


class BatchSpec(SpecPart):
    """The request for a batch prediction.

    Attributes:
        dataset: the revision to predict, `name@number`; None if a file was uploaded instead.
        top: maximum number of classes in each prediction.
    """

    model: ModelName
    version: int
    dataset: str | None
    top: int = Field(ge=1)
    priority: Priority
    tags: Tags
    notes: Notes
