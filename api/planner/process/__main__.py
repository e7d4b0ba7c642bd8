"""`python -m api.planner.process LIMIT`: says that it is ready, then answers a line with a question by one with
the plan, and the line `catalog` by one with the catalog.

A process of its own because Keras weighs more than the whole API, and because a spec may be made to hurt.
"""

import os
import resource
import sys

from api.planner.messages import CATALOG, PlannerMessage, PlanResponse, Refusal
from shared.errors import InvalidRequest

MAX_MEMORY_BYTES = 4 * 2**30


def main(max_parameters: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)  # whatever a library prints must not stand among the answers
        os.environ["KERAS_BACKEND"] = "openvino"
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
        from api.planner.process.catalog_reader import (
            read_catalog,  # Keras looks at the environment when it is imported
        )
        from api.planner.process.dry_run import plan_training
        from api.planner.process.layer_outputs import write_layer_output

        answers.write("ready\n")
        answers.flush()
        for line in sys.stdin:
            if line.strip() == CATALOG:
                answers.write(read_catalog().model_dump_json() + "\n")
                answers.flush()
                continue
            try:
                asked = PlannerMessage.model_validate_json(line)
                if asked.look is not None:
                    write_layer_output(asked.look.folder, asked.look.input_shape, asked.look.layer)
                    answer = PlanResponse()
                elif (question := asked.question) is not None:
                    answer = PlanResponse(
                        plan=plan_training(question.spec, max_parameters, question.uploaded, question.base)
                    )
            except InvalidRequest as refused:
                answer = PlanResponse(refusal=Refusal.model_validate(refused))
            answers.write(answer.model_dump_json() + "\n")
            answers.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]))
