"""Plan trainings in a separate process. Usage: `python -m api.planner.process MAX_PARAMETERS MAX_PREPARED_BYTES`.

The process answers a PlannerMessage with a PlanResponse, and the word `catalog` with the Catalog.

It is a separate process because Keras takes more memory than the rest of the API, and because a hostile spec can
exhaust the memory or the time of the process that plans it.
"""

import os
import resource
import sys
import traceback
from collections.abc import Callable

from pydantic import BaseModel

from api.planner.messages import CATALOG, PlannerMessage, PlanResponse, Refusal
from shared.errors import InvalidRequest
from shared.processes.child import serve_messages
from shared.processes.limits import ProcessLimits
from shared.processes.messages import Message
from shared.system import silence_openvino

MAX_MEMORY_BYTES = 4 * 2**30
"""Limit of the address space of this process."""
MAX_PLAN_CPU_SECONDS = 10
"""Limit on the processor time of a plan, which usually takes milliseconds.

Two threads on one core are counted in full, so that a large network takes up to twice as long on a busy machine.
"""
MAX_OUTPUT_CPU_SECONDS = 60
"""The same for the output of a layer, which can need the whole network."""
MAX_REASON = 300
"""The most characters of an unexpected exception in a refusal."""


def main(max_parameters: int, max_prepared_bytes: int) -> None:
    """Answer requests until standard input ends. The arguments are limits for a spec, see `plan_training`."""
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    serve_messages(lambda: _import_keras(max_parameters, max_prepared_bytes))


def _import_keras(max_parameters: int, max_prepared_bytes: int) -> Callable[[Message], Message]:
    """Import Keras, and return the function that answers a message."""
    silence_openvino()
    os.environ["KERAS_BACKEND"] = "openvino"
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    # Keras reads the environment when it is imported.
    from api.planner.process.catalog_reader import read_catalog
    from api.planner.process.dry_run import plan_training
    from api.planner.process.functions import compute_loss, sample_activation
    from api.planner.process.layer_outputs import write_layer_output

    limits = ProcessLimits()

    def compute(document: bytes) -> PlanResponse:
        message = PlannerMessage.model_validate_json(document)
        seconds = MAX_PLAN_CPU_SECONDS if message.plan_request is not None else MAX_OUTPUT_CPU_SECONDS
        with limits.hold(MAX_MEMORY_BYTES, seconds):
            return answer(message)

    def answer(message: PlannerMessage) -> PlanResponse:
        if (layer := message.layer_request) is not None:
            write_layer_output(layer.folder, layer.input_shape, layer.layer)
            return PlanResponse()
        if message.loss_request is not None:
            return PlanResponse(loss=compute_loss(message.loss_request))
        if message.activation is not None:
            return PlanResponse(curve=sample_activation(message.activation))
        request = message.plan_request
        assert request is not None  # noqa: S101 - one of the fields is set
        return PlanResponse(
            plan=plan_training(
                request.spec,
                max_parameters,
                max_prepared_bytes,
                request.uploaded,
                request.base,
                request.validation,
                request.weights,
            )
        )

    def respond(message: Message) -> Message:
        if message.head == CATALOG:
            return _to_message(read_catalog())
        try:
            return _to_message(compute(message.head))
        except InvalidRequest as refused:
            refusal = Refusal.model_validate(refused)
        except Exception as error:  # noqa: BLE001 - Keras raises every kind for what it cannot build
            traceback.print_exc()
            reason = f"{type(error).__name__}: {str(error)[:MAX_REASON]}"
            refusal = Refusal(detail=f"The spec cannot be planned: {reason}.", faults=())
        return _to_message(PlanResponse(refusal=refusal))

    return respond


def _to_message(answer: BaseModel) -> Message:
    return Message(answer.model_dump_json().encode())


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
