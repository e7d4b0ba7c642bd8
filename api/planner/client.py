"""Asks the planning process what a spec would do. It is started once and kept; one that dies or hangs is replaced."""

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
"""For a plan, which takes milliseconds, or for the import of Keras."""


class PlannerFailed(Exception):
    """The process ended over a spec, or did not answer in time."""


class Planner:
    """Safe for threads: they are answered one after the other."""

    def __init__(self, max_parameters: int) -> None:
        self._command = [sys.executable, "-m", "api.planner.process", str(max_parameters)]
        self._process: subprocess.Popen[str] | None = None
        self._is_ready = False
        self._catalog: Catalog | None = None
        self._lock = threading.Lock()

    def start(self) -> None:
        """So that the first spec need not wait for Keras."""
        with self._lock:
            self._get_process()

    def plan(self, question: PlanRequest) -> Plan:
        """Raises InvalidRequest where the spec cannot be trained, PlanningUnavailable where no spec can be planned."""
        line = PlannerMessage(question=question).model_dump_json(by_alias=True)
        answer = PlanResponse.model_validate_json(self._ask_with_retry(line))
        if answer.refusal is not None:
            raise InvalidRequest(answer.refusal.detail, answer.refusal.faults)
        assert answer.plan is not None  # noqa: S101 - one of the two
        return answer.plan

    def compute_layer_output(self, look: LayerOutputRequest) -> None:
        """Writes what is to be seen into the folder. Raises InvalidRequest or PlanningUnavailable."""
        self._ask_with_retry(PlannerMessage(look=look).model_dump_json())

    def get_catalog(self) -> Catalog:
        """What a spec may name; asked for once. Raises PlanningUnavailable."""
        if self._catalog is None:
            self._catalog = Catalog.model_validate_json(self._ask_with_retry(CATALOG))
        return self._catalog

    def close(self) -> None:
        with self._lock:
            self._end_process()

    def _ask_with_retry(self, question: str) -> str:
        """A process may have died while idle; one that dies twice of the same spec died of the spec."""
        with self._lock:
            try:
                return self._ask(question)
            except PlannerFailed as failure:
                logger.warning("planning process replaced: %s", failure)
                self._end_process()
            try:
                return self._ask(question)
            except PlannerFailed as failure:
                self._end_process()
                raise InvalidRequest(
                    f"The network cannot be built: {failure}. Try fewer or smaller layers."
                ) from failure

    def _ask(self, question: str) -> str:
        process = self._get_process()
        self._await_readiness(process)
        assert process.stdin is not None  # noqa: S101 - it is a pipe
        try:
            process.stdin.write(question + "\n")
            process.stdin.flush()
        except OSError as error:
            raise PlannerFailed("the planning process has ended") from error
        return _read_line(process)

    def _await_readiness(self, process: subprocess.Popen[str]) -> None:
        """Its first line, once it has imported Keras."""
        if self._is_ready:
            return
        try:
            _read_line(process)
        except PlannerFailed as failure:
            self._end_process()
            raise PlanningUnavailable("Networks cannot be planned just now; the API's log says why.") from failure
        self._is_ready = True

    def _get_process(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            self._end_process()
            self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            logger.info("planning process started")
        return self._process

    def _end_process(self) -> None:
        """It holds no state, and may be in the middle of anything."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
        self._is_ready = False


def _read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        if not selector.select(ANSWER_TIMEOUT_SECONDS):
            raise PlannerFailed(f"it took longer than {ANSWER_TIMEOUT_SECONDS:g} seconds")
    line = process.stdout.readline()
    if not line:
        raise PlannerFailed("the planning process ended over it")
    return line
