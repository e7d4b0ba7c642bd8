"""Define the evaluations of a version on other rows than its test part, which are files of the version."""

import re

from pydantic import BaseModel, ConfigDict, Field

from shared.registry.evaluation import Evaluation
from shared.spec.evaluation import EvaluatedPart

_FILE = re.compile(r"evaluation\.(?P<key>.+\.(?:train|validation|test|all))\.json")


class FurtherEvaluation(BaseModel):
    """The results of a version on other rows than its test part."""

    model_config = ConfigDict(frozen=True)

    dataset: str | None = Field(description="The data set as `name@revision`; null for the data of the training.")
    part: EvaluatedPart
    digest: str = Field(description="sha256 of the data.")
    evaluation: Evaluation


def get_file_name(key: str) -> str:
    """Return the name of the file of an evaluation. `key` is `EvaluationSpec.key`."""
    return f"evaluation.{key}.json"


def find_key(file_name: str) -> str | None:
    """Return the key of the evaluation in a file; None for any other file."""
    found = _FILE.fullmatch(file_name)
    return found["key"] if found is not None else None
