"""Describe the baselines of a version: simple models of the same data, with which its figures are compared."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

BASELINES_FILE = "baselines.json"


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True)


class CrossValidation(_Value):
    """The metric of a model on each fold of the training rows, after training on the other folds."""

    folds: list[float]
    mean: float
    deviation: float = Field(description="The standard deviation of the folds.")


class Baseline(_Value):
    """A simple model. Its figures are those of `Baselines.metric`."""

    name: Literal["majority_class", "sgd_classifier", "logistic_regression", "mean", "linear_regression"]
    test: float | None = Field(description="On the test part; null without test rows.")
    cross_validation: CrossValidation | None = Field(
        description="On the training rows; null for the models that do not learn, and if a class has too few rows."
    )
    rows: int = Field(description="The training rows that the model has learned from.")
    seconds: float


class Baselines(_Value):
    """The baselines of a version."""

    metric: Literal["accuracy", "mean_absolute_error"]
    version: float | None = Field(description="The same metric of the version on the test part; null if it has none.")
    test_rows: int
    baselines: list[Baseline]
