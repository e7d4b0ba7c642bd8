"""`python -m api.planner.process LIMIT`: says that it is ready, then answers a line with a question by one with
the plan, and the line `catalog` by one with the catalog.

A process of its own because Keras weighs more than the whole API, and because a spec may be made to hurt.
"""

import os
import resource
import sys
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from api.planner.messages import Plan
from shared.datasets.info import DatasetFacts
from shared.errors import Fault, InvalidRequest
from shared.registry.pretrained import Base
from shared.spec.training import TrainingSpec

MAX_MEMORY_BYTES = 4 * 2**30
CATALOG = "catalog"


class Question(BaseModel):
    """A spec, what the data set holds that it names, where users brought it, and the version it starts from."""

    spec: TrainingSpec
    uploaded: DatasetFacts | None = None
    base: Base | None = None


class Look(BaseModel):
    """Into a layer of a network whose architecture.json and model.weights.h5 lie in the folder.

    Its kernel, or, where the folder has an input.npy, (n, *input_shape) float32, what it makes of that; written to
    output.npy.
    """

    folder: Path
    input_shape: tuple[int, ...]
    layer: str


class Line(BaseModel):
    """What is asked: one of the two."""

    question: Question | None = None
    look: Look | None = None


class Refusal(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    detail: str
    faults: tuple[Fault, ...]


class Answer(BaseModel):
    """A plan, a refusal, or neither to a look that was taken."""

    plan: Plan | None = None
    refusal: Refusal | None = None


def main(max_parameters: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)  # whatever a library prints must not stand among the answers
        os.environ["KERAS_BACKEND"] = "openvino"
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
        from api.planner.process.catalog_reader import (
            read_catalog,  # Keras looks at the environment when it is imported
        )
        from api.planner.process.dry_run import plan
        from api.planner.process.layer_outputs import look_into_layer

        answers.write("ready\n")
        answers.flush()
        for line in sys.stdin:
            if line.strip() == CATALOG:
                answers.write(read_catalog().model_dump_json() + "\n")
                answers.flush()
                continue
            try:
                asked = Line.model_validate_json(line)
                if asked.look is not None:
                    look_into_layer(asked.look.folder, asked.look.input_shape, asked.look.layer)
                    answer = Answer()
                elif (question := asked.question) is not None:
                    answer = Answer(plan=plan(question.spec, max_parameters, question.uploaded, question.base))
            except InvalidRequest as refused:
                answer = Answer(refusal=Refusal.model_validate(refused))
            answers.write(answer.model_dump_json() + "\n")
            answers.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]))
