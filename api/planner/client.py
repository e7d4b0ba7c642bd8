"""Asks the planning process what a spec would do. It is started once and kept; one that dies or hangs is replaced."""

import logging
import selectors
import subprocess
import sys
import threading

from api.planner.catalog import Catalog
from api.planner.messages import CATALOG, Answer, Line, Look, Plan, Question
from shared.errors import InvalidRequest, PlanningUnavailable

logger = logging.getLogger(__name__)

ANSWER_SECONDS = 30.0
"""For a plan, which takes milliseconds, or for the import of Keras."""


class PlanningFailed(Exception):
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
            self._running()

    def plan(self, question: Question) -> Plan:
        """Raises InvalidRequest where the spec cannot be trained, PlanningUnavailable where no spec can be planned."""
        line = Line(question=question).model_dump_json(by_alias=True)
        answer = Answer.model_validate_json(self._asked_twice(line))
        if answer.refusal is not None:
            raise InvalidRequest(answer.refusal.detail, answer.refusal.faults)
        assert answer.plan is not None  # noqa: S101 - one of the two
        return answer.plan

    def look(self, look: Look) -> None:
        """Writes what is to be seen into the folder. Raises InvalidRequest or PlanningUnavailable."""
        self._asked_twice(Line(look=look).model_dump_json())

    def catalog(self) -> Catalog:
        """What a spec may name; asked for once. Raises PlanningUnavailable."""
        if self._catalog is None:
            self._catalog = Catalog.model_validate_json(self._asked_twice(CATALOG))
        return self._catalog

    def close(self) -> None:
        with self._lock:
            self._end()

    def _asked_twice(self, question: str) -> str:
        """A process may have died while idle; one that dies twice of the same spec died of the spec."""
        with self._lock:
            try:
                return self._asked(question)
            except PlanningFailed as failure:
                logger.warning("planning process replaced: %s", failure)
                self._end()
            try:
                return self._asked(question)
            except PlanningFailed as failure:
                self._end()
                raise InvalidRequest(
                    f"The network cannot be built: {failure}. Try fewer or smaller layers."
                ) from failure

    def _asked(self, question: str) -> str:
        process = self._running()
        self._await_readiness(process)
        assert process.stdin is not None  # noqa: S101 - it is a pipe
        try:
            process.stdin.write(question + "\n")
            process.stdin.flush()
        except OSError as error:
            raise PlanningFailed("the planning process has ended") from error
        return _line(process)

    def _await_readiness(self, process: subprocess.Popen[str]) -> None:
        """Its first line, once it has imported Keras."""
        if self._is_ready:
            return
        try:
            _line(process)
        except PlanningFailed as failure:
            self._end()
            raise PlanningUnavailable("Networks cannot be planned just now; the API's log says why.") from failure
        self._is_ready = True

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            self._end()
            self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            logger.info("planning process started")
        return self._process

    def _end(self) -> None:
        """It holds no state, and may be in the middle of anything."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
        self._is_ready = False


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        if not selector.select(ANSWER_SECONDS):
            raise PlanningFailed(f"it took longer than {ANSWER_SECONDS:g} seconds")
    line = process.stdout.readline()
    if not line:
        raise PlanningFailed("the planning process ended over it")
    return line
