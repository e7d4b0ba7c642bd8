"""Plan trainings in a separate process. Usage: `python -m api.planner.process MAX_PARAMETERS`.

The process writes the line `ready`. Then it answers each line of standard input with one line of JSON: a PlannerMessage
with a PlanResponse, and the word `catalog` with the Catalog.

It is a separate process because Keras takes more memory than the rest of the API, and because a hostile spec can
exhaust the memory or the time of the process that plans it.
"""

import os
import resource
import sys
import traceback

from pydantic import BaseModel

from api.planner.messages import CATALOG, PlannerMessage, PlanResponse, Refusal
from shared.errors import InvalidRequest

MAX_MEMORY_BYTES = 4 * 2**30
"""Limit of the address space of this process."""
MAX_REASON = 300
"""The most characters of an unexpected exception in a refusal."""


def main(max_parameters: int) -> None:
    """Answer requests until standard input ends. `max_parameters` is the limit for the network of a spec."""
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)  # output of libraries goes to stderr, so that stdout has only answers
        os.environ["KERAS_BACKEND"] = "openvino"
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
        # Keras reads the environment when it is imported.
        from api.planner.process.catalog_reader import read_catalog
        from api.planner.process.dry_run import plan_training
        from api.planner.process.layer_outputs import write_layer_output

        answers.write("ready\n")
        answers.flush()

        def respond(line: str) -> PlanResponse:
            message = PlannerMessage.model_validate_json(line)
            if (layer := message.layer_request) is not None:
                write_layer_output(layer.folder, layer.input_shape, layer.layer)
                return PlanResponse()
            request = message.plan_request
            assert request is not None  # noqa: S101 - one of the two is set
            plan = plan_training(request.spec, max_parameters, request.uploaded, request.base)
            return PlanResponse(plan=plan)

        for line in sys.stdin:
            if line.strip() == CATALOG:
                answer: BaseModel = read_catalog()
            else:
                try:
                    answer = respond(line)
                except InvalidRequest as refused:
                    answer = PlanResponse(refusal=Refusal.model_validate(refused))
                except Exception as error:  # noqa: BLE001 - Keras raises every kind for what it cannot build
                    traceback.print_exc()
                    reason = f"{type(error).__name__}: {str(error)[:MAX_REASON]}"
                    answer = PlanResponse(refusal=Refusal(detail=f"The spec cannot be planned: {reason}.", faults=()))
            answers.write(answer.model_dump_json() + "\n")
            answers.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]))
