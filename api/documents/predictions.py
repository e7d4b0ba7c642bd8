"""Define the documents about predictions."""

from pydantic import ConfigDict, Field

from api.documents.base import Document, Problem


class ClassProbability(Document):
    """`class` is the place among the version's classes, from 0."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    label: str
    class_: int = Field(alias="class")
    probability: float


class Prediction(ClassProbability):
    top: list[ClassProbability]
    warnings: list[str] = Field(default=[])


class NumericPrediction(Document):
    """What a regression answers: a number, or a list of them."""

    value: float | list[float]
    warnings: list[str] = Field(default=[])


class FailedPrediction(Document):
    """Stands in the place of an input that could not be read."""

    problem: Problem


class Predictions(Document):
    """In the order of the inputs."""

    model: str
    version: int
    predictions: list[Prediction | NumericPrediction | FailedPrediction]
