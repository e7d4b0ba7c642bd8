"""Ask the planning process for plans, and replace the process when it fails."""

import logging
import selectors
import subprocess
import sys
import threading

from api.planner.catalog import Catalog
from api.planner.messages import CATALOG, LayerOutputRequest, Plan, PlannerMessage, PlanRequest, PlanResponse
from shared.errors import InvalidRequest, PlanningUnavailable

logger = logging.getLogger(__name__)

ANSWER_TIMEOUT_SECONDS = 30.0
"""Timeout for one answer, including the import of Keras at the start. A plan usually takes milliseconds."""


class PlannerFailed(Exception):
    """Raised when the process ends before it answers, or does not answer in time."""


class Planner:
    """A client of the planning process, which several threads can use. It answers one request at a time.

    `max_parameters` is the limit for the network of a spec.
    """

    def __init__(self, max_parameters: int) -> None:
        self._command = [sys.executable, "-m", "api.planner.process", str(max_parameters)]
        self._process: subprocess.Popen[str] | None = None
        self._is_ready = False
        self._catalog: Catalog | None = None
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start the process without waiting for it, so that Keras is imported before the first spec arrives."""
        with self._lock:
            self._get_process()

    def plan(self, plan_request: PlanRequest) -> Plan:
        """Compute the plan of a spec.

        Raises InvalidRequest if the spec cannot be trained, and PlanningUnavailable if the process does not start.
        """
        line = PlannerMessage(plan_request=plan_request).model_dump_json(by_alias=True)
        answer = PlanResponse.model_validate_json(self._ask_with_retry(line))
        if answer.refusal is not None:
            raise InvalidRequest(answer.refusal.detail, answer.refusal.faults)
        assert answer.plan is not None  # noqa: S101 - an answer without a refusal has a plan
        return answer.plan

    def compute_layer_output(self, layer_request: LayerOutputRequest) -> None:
        """Write the kernel or the output of a layer to output.npy in the folder.

        Raises InvalidRequest or PlanningUnavailable.
        """
        self._ask_with_retry(PlannerMessage(layer_request=layer_request).model_dump_json())

    def get_catalog(self) -> Catalog:
        """Return what a spec can name. The process is asked only once. Raises PlanningUnavailable."""
        if self._catalog is None:
            self._catalog = Catalog.model_validate_json(self._ask_with_retry(CATALOG))
        return self._catalog

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end_process()

    def _ask_with_retry(self, message: str) -> str:
        """Send one line to the process and return its answer. Replaces a process that fails, and retries once.

        A process can end while it is idle, so the first failure is not the fault of the spec; the second one is.
        """
        with self._lock:
            try:
                return self._ask(message)
            except PlannerFailed as failure:
                logger.warning("planning process replaced: %s", failure)
                self._end_process()
            try:
                return self._ask(message)
            except PlannerFailed as failure:
                self._end_process()
                raise InvalidRequest(
                    f"The network cannot be built: {failure}. Use fewer or smaller layers."
                ) from failure

    def _ask(self, message: str) -> str:
        """Send one line and return the answer. Raises PlannerFailed or PlanningUnavailable."""
        process = self._get_process()
        self._await_readiness(process)
        assert process.stdin is not None  # noqa: S101 - it is a pipe
        try:
            process.stdin.write(message + "\n")
            process.stdin.flush()
        except OSError as error:
            raise PlannerFailed("the planning process has ended") from error
        return _read_line(process)

    def _await_readiness(self, process: subprocess.Popen[str]) -> None:
        """Wait for the first line, which the process writes after the import of Keras. Raises PlanningUnavailable."""
        if self._is_ready:
            return
        try:
            _read_line(process)
        except PlannerFailed as failure:
            self._end_process()
            raise PlanningUnavailable(
                "The planning process did not start. The log of the API contains the reason. Retry in a few seconds."
            ) from failure
        self._is_ready = True

    def _get_process(self) -> subprocess.Popen[str]:
        """Return the running process. Starts one if none runs."""
        if self._process is None or self._process.poll() is not None:
            self._end_process()
            self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            logger.info("planning process started")
        return self._process

    def _end_process(self) -> None:
        """Kill the process. It has no state to save, and it may be busy or blocked."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
        self._is_ready = False


def _read_line(process: subprocess.Popen[str]) -> str:
    """Read one line. Raises PlannerFailed at the end of the output and after ANSWER_TIMEOUT_SECONDS."""
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        if not selector.select(ANSWER_TIMEOUT_SECONDS):
            raise PlannerFailed(f"planning took longer than {ANSWER_TIMEOUT_SECONDS:g} s")
    line = process.stdout.readline()
    if not line:
        raise PlannerFailed("the planning process ended without an answer")
    return line
