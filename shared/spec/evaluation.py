"""Define the spec of a job that evaluates a version on other rows."""

from typing import Annotated, Literal

from pydantic import Field

from shared.spec.fields import ModelName, Notes, Priority, SpecPart, Tags

EvaluatedPart = Literal["train", "validation", "test", "all"]


class EvaluationSpec(SpecPart):
    """The request for an evaluation of a version.

    Attributes:
        dataset: a built-in data set, or an uploaded one as `name@number`; None for the data of the training.
    """

    model: ModelName
    version: int
    dataset: Annotated[str, Field(max_length=200)] | None
    part: EvaluatedPart
    priority: Priority
    tags: Tags
    notes: Notes

    @property
    def key(self) -> str:
        """Return what tells the evaluations of a version apart."""
        return f"{self.dataset or OWN}.{self.part}"


OWN = "own"
"""The name of the data of the training, which no data set has."""
