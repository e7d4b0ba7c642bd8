"""Ask the planning processes for plans, and replace a process that fails."""

import hashlib
import os
import sys
import threading
from collections.abc import Sequence

from cachetools import LRUCache

from api.planner.catalog import Catalog
from api.planner.messages import (
    CATALOG,
    Curve,
    LayerOutputRequest,
    LossRequest,
    LossValue,
    Plan,
    PlannerMessage,
    PlanRequest,
    PlanResponse,
)
from shared.errors import InvalidRequest, PlanningUnavailable
from shared.processes.child import ChildFailed, ChildTimedOut
from shared.processes.messages import Message
from shared.processes.pool import ProcessPool

PLAN_SECONDS = 20.0
"""Timeout for a plan on a busy machine. The process itself limits the processor time."""
LAYER_OUTPUT_SECONDS = 60.0
"""The same for the output of a layer, which can need the whole network."""
WAIT_SECONDS = 10.0
MAX_WAITING = 64
MAX_PROCESSES = 4
MAX_PLANS = 256
"""The plans that are remembered: a page asks for the same one again and again."""
SERVICE = ""
"""The owner of requests that are not a user's."""


class Planner:
    """A client of the planning processes, which several threads can use.

    Args:
        max_parameters: limit for the network of a spec.
        max_prepared_bytes: limit for all images of a spec after they are resized.
        plan_seconds: timeout for one plan.
        processes: number of processes; by default one for each processor, 2 to MAX_PROCESSES.
        max_waiting: the most requests that wait for a process.
        wait_seconds: the longest time that a request waits for a process.
        command: command line of a process; by default, that of `api.planner.process`.
    """

    def __init__(
        self,
        max_parameters: int,
        max_prepared_bytes: int,
        *,
        plan_seconds: float = PLAN_SECONDS,
        processes: int | None = None,
        max_waiting: int = MAX_WAITING,
        wait_seconds: float = WAIT_SECONDS,
        command: Sequence[str] | None = None,
    ) -> None:
        command = command or [sys.executable, "-m", "api.planner.process", str(max_parameters), str(max_prepared_bytes)]
        size = processes or min(max(2, os.cpu_count() or 1), MAX_PROCESSES)
        self.pool = ProcessPool("planning", command, size, max_waiting, wait_seconds, PlanningUnavailable)
        self._plan_seconds = plan_seconds
        self._catalog: Catalog | None = None
        self._plans: LRUCache[bytes, Plan] = LRUCache(MAX_PLANS)
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start the processes without waiting for them, so that Keras is imported before the first spec arrives."""
        self.pool.start()

    def plan(self, plan_request: PlanRequest, owner: str = SERVICE) -> Plan:
        """Compute the plan of a spec, or return that of the same spec of a moment ago. `owner` waits in the queue.

        Raises InvalidRequest if the spec cannot be trained, and PlanningUnavailable if the queue is full or no process
        starts.
        """
        message = PlannerMessage(plan_request=plan_request)
        key = hashlib.sha256(message.model_dump_json(by_alias=True).encode()).digest()
        with self._lock:
            known = self._plans.get(key)
        if known is not None:
            return known
        plan = self._request(message, owner, self._plan_seconds).plan
        assert plan is not None  # noqa: S101 - a response to a spec has a plan
        with self._lock:
            self._plans[key] = plan
        return plan

    def compute_layer_output(self, layer_request: LayerOutputRequest) -> None:
        """Write the output of a layer to output.npy in the folder, or its weights to weights.npz.

        Raises InvalidRequest or PlanningUnavailable.
        """
        self._request(PlannerMessage(layer_request=layer_request), SERVICE, LAYER_OUTPUT_SECONDS)

    def compute_loss(self, loss_request: LossRequest) -> LossValue:
        """Compute a loss. Raises InvalidRequest or PlanningUnavailable."""
        value = self._request(PlannerMessage(loss_request=loss_request), SERVICE, LAYER_OUTPUT_SECONDS).loss
        assert value is not None  # noqa: S101 - a response to a loss has its value
        return value

    def sample_activation(self, name: str) -> Curve:
        """Return the curve of an activation. Raises InvalidRequest or PlanningUnavailable."""
        curve = self._request(PlannerMessage(activation=name), SERVICE, LAYER_OUTPUT_SECONDS).curve
        assert curve is not None  # noqa: S101 - a response to an activation has its curve
        return curve

    def get_catalog(self) -> Catalog:
        """Return what a spec can name. A process is asked only once. Raises PlanningUnavailable."""
        if self._catalog is None:
            try:
                answer = self.pool.ask(Message(CATALOG), LAYER_OUTPUT_SECONDS)
                self._catalog = Catalog.model_validate_json(answer.head)
            except ChildFailed as failure:
                raise PlanningUnavailable(f"There is no catalog: {failure}. Retry in a few seconds.") from failure
        return self._catalog

    def close(self) -> None:
        """End the processes."""
        self.pool.close()

    def _request(self, message: PlannerMessage, owner: str, seconds: float) -> PlanResponse:
        """Send a message and return its response. Raises InvalidRequest for a refusal."""
        document = message.model_dump_json(by_alias=True).encode()
        try:
            answer = self.pool.ask(Message(document), seconds, owner)
        except ChildTimedOut as failure:
            raise PlanningUnavailable(f"The machine is busy: {failure}. Retry in a few seconds.") from failure
        except ChildFailed as failure:
            raise InvalidRequest(f"The network cannot be built: {failure}. Use fewer or smaller layers.") from failure
        response = PlanResponse.model_validate_json(answer.head)
        if response.refusal is not None:
            raise InvalidRequest(response.refusal.detail, response.refusal.faults)
        return response
