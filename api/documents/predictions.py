"""Define the documents about predictions."""

from pydantic import ConfigDict, Field

from api.documents.base import Document, Problem


class ClassProbability(Document):
    """A class with its probability. `class` is the index of the label in the `classes` of the version, from 0."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    label: str
    class_: int = Field(alias="class")
    probability: float


class Prediction(ClassProbability):
    """The most probable class of an input. `top` lists the most probable classes, as many as the query requests.

    `warnings` are sentences about a doubtful input or prediction.
    """

    top: list[ClassProbability]
    warnings: list[str] = Field(default=[])


class NumericPrediction(Document):
    """The prediction of a regression: a number, or a list of numbers if the network has several outputs."""

    value: float | list[float]
    warnings: list[str] = Field(default=[])


class LabelProbability(Document):
    """A label with its probability, which is independent of those of other labels."""

    model_config = ConfigDict(frozen=True)

    label: str
    probability: float


class LabelsPrediction(Document):
    """The labels of an input that can have several: those with a probability of at least 0.5.

    `probabilities` has all labels, the most probable first. `labels` is empty if the input has none of them.
    """

    labels: list[str]
    probabilities: list[LabelProbability]
    warnings: list[str] = Field(default=[])


class FailedPrediction(Document):
    """The result for an input that could not be read."""

    problem: Problem


class Predictions(Document):
    """The predictions of a version, in the order of the inputs."""

    model: str
    version: int | None = Field(description="Null for a candidate, which is not published.")
    predictions: list[Prediction | LabelsPrediction | NumericPrediction | FailedPrediction]
