"""Ask the planning process for plans, and replace the process when it fails."""

import logging
import selectors
import subprocess
import sys
import threading
from collections.abc import Sequence

from api.planner.catalog import Catalog
from api.planner.messages import CATALOG, LayerOutputRequest, Plan, PlannerMessage, PlanRequest, PlanResponse
from shared.errors import InvalidRequest, PlanningUnavailable

logger = logging.getLogger(__name__)

START_TIMEOUT_SECONDS = 30.0
"""Timeout for the start of the process, which imports Keras."""


class PlannerFailed(Exception):
    """Raised when the process ends before it answers, or does not answer in time."""


class Planner:
    """A client of the planning process, which several threads can use. It answers one request at a time.

    Args:
        max_parameters: limit for the network of a spec.
        answer_seconds: timeout for one answer. A plan usually takes milliseconds.
        command: command line of the process; by default, that of `api.planner.process`.
    """

    def __init__(
        self, max_parameters: int, *, answer_seconds: float = 30.0, command: Sequence[str] | None = None
    ) -> None:
        self._command = command or [sys.executable, "-m", "api.planner.process", str(max_parameters)]
        self._answer_seconds = answer_seconds
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
        plan = self._request(PlannerMessage(plan_request=plan_request)).plan
        assert plan is not None  # noqa: S101 - a response to a spec has a plan
        return plan

    def compute_layer_output(self, layer_request: LayerOutputRequest) -> None:
        """Write the kernel or the output of a layer to output.npy in the folder.

        Raises InvalidRequest or PlanningUnavailable.
        """
        self._request(PlannerMessage(layer_request=layer_request))

    def get_catalog(self) -> Catalog:
        """Return what a spec can name. The process is asked only once. Raises PlanningUnavailable."""
        if self._catalog is None:
            self._catalog = Catalog.model_validate_json(self._ask_with_retry(CATALOG))
        return self._catalog

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end_process()

    def _request(self, message: PlannerMessage) -> PlanResponse:
        """Send a message and return its response. Raises InvalidRequest for a refusal."""
        response = PlanResponse.model_validate_json(self._ask_with_retry(message.model_dump_json(by_alias=True)))
        if response.refusal is not None:
            raise InvalidRequest(response.refusal.detail, response.refusal.faults)
        return response

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
        return _read_line(process, self._answer_seconds)

    def _await_readiness(self, process: subprocess.Popen[str]) -> None:
        """Wait for the first line, which the process writes after the import of Keras. Raises PlanningUnavailable."""
        if self._is_ready:
            return
        try:
            _read_line(process, START_TIMEOUT_SECONDS)
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


def _read_line(process: subprocess.Popen[str], timeout_seconds: float) -> str:
    """Read one line. Raises PlannerFailed at the end of the output and after the timeout."""
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        if not selector.select(timeout_seconds):
            raise PlannerFailed(f"planning took longer than {timeout_seconds:g} s")
    line = process.stdout.readline()
    if not line:
        raise PlannerFailed("the planning process ended without an answer")
    return line
