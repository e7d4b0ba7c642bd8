"""Submit, cancel, stop and retry jobs during faults, and record the answers of the API."""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import uuid4

import httpx

from tests.chaos.specs import SPECS
from tests.support.examples import changed

TIMEOUT_SECONDS = 10.0
SECONDS_BETWEEN_TRIES = 0.3
ENDED = ("succeeded", "failed", "cancelled")


@dataclass
class Told:
    """A job as its client knows it.

    Attributes:
        may_end: statuses that the job may end with, by the answers of the API.
        stopped: True if the client has asked to stop the job early.
    """

    job: str
    spec: str
    may_end: frozenset[str] = frozenset({"succeeded"})
    stopped: bool = False


@dataclass
class Ledger:
    """The accepted jobs and the unexpected answers of all clients."""

    told: list[Told] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


class Client(threading.Thread):
    """A client that submits one job after another. The seed determines specs, actions and pauses."""

    def __init__(self, seed: str, ports: list[int], ledger: Ledger, ended: threading.Event) -> None:
        super().__init__(daemon=True)
        self._random = random.Random(seed)
        self._addresses = [f"http://127.0.0.1:{port}/api/v1/jobs" for port in ports]
        self._ledger = ledger
        self._ended = ended
        self._http = httpx.Client(timeout=TIMEOUT_SECONDS)

    def run(self) -> None:
        while not self._ended.is_set():
            told = self._submit()
            if told is None:
                return
            self._pause(0.5, 6)
            self._choose_action(told)
            self._await_end(told, seconds=self._random.uniform(0, 10))

    def _submit(self) -> Told | None:
        name = self._random.choice(list(SPECS))
        headers = {"Idempotency-Key": str(uuid4()), "X-Owner": f"owner-{self._random.randrange(3)}"}
        spec = changed(SPECS[name], "resources.priority", self._random.choice([0, 0, 0, 5]))
        answer = self._send_with_retry(lambda address: self._http.post(address, json=spec, headers=headers))
        if answer is None:
            return None
        if answer.status_code != httpx.codes.ACCEPTED:
            self._ledger.complaints.append(f"a submission was answered {answer.status_code}: {answer.text}")
            return None
        told = Told(answer.json()["id"], name)
        self._ledger.told.append(told)
        return told

    def _choose_action(self, told: Told) -> None:
        """Choose an action on the job, perform it and record the statuses that the job may then end with."""
        action = self._random.choices(["leave", "cancel", "stop", "cancel and retry"], [6, 2, 2, 2])[0]
        if action == "stop":
            answer = self._post(told, "stop")
            told.stopped = True  # also without an answer: the API may have accepted the request
            if answer is not None and answer.status_code not in (202, 409):
                self._record_complaint(told, "stop", answer)
        if action.startswith("cancel"):
            told.may_end = frozenset({"succeeded", "cancelled"})
            answer = self._post(told, "cancellation")
            if answer is None:
                return
            if answer.status_code in (200, 202):
                told.may_end = frozenset({"cancelled"})
            elif answer.status_code != httpx.codes.CONFLICT:
                self._record_complaint(told, "cancellation", answer)
        if action == "cancel and retry" and self._await_end(told, seconds=60) == "cancelled":
            answer = self._post(told, "retry")
            if answer is not None and answer.status_code in (200, 201):
                self._ledger.told.append(Told(answer.json()["id"], told.spec))
            elif answer is not None:
                self._record_complaint(told, "retry", answer)

    def _post(self, told: Told, action: str) -> httpx.Response | None:
        return self._send_with_retry(lambda address: self._http.post(f"{address}/{told.job}/{action}"))

    def _await_end(self, told: Told, seconds: float) -> str | None:
        """Return the status of the job once it has ended; None if it has not ended within `seconds`."""
        give_up_at = time.monotonic() + seconds
        while time.monotonic() < give_up_at and not self._ended.is_set():
            answer = self._send_with_retry(lambda address: self._http.get(f"{address}/{told.job}"))
            if answer is not None and answer.is_success and answer.json()["status"] in ENDED:
                status: str = answer.json()["status"]
                return status
            self._pause(0.2, 0.6)
        return None

    def _send_with_retry(self, send: Callable[[str], httpx.Response]) -> httpx.Response | None:
        """Repeat a request after a connection error or status 503.

        Returns the first other answer; None if the test ended before it.
        """
        while not self._ended.is_set():
            try:
                answer = send(self._random.choice(self._addresses))
                if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                    return answer
            except httpx.TransportError:
                pass
            self._ended.wait(SECONDS_BETWEEN_TRIES)
        return None

    def _pause(self, min_seconds: float, max_seconds: float) -> None:
        self._ended.wait(self._random.uniform(min_seconds, max_seconds))

    def _record_complaint(self, told: Told, action: str, answer: httpx.Response) -> None:
        self._ledger.complaints.append(f"{action} of {told.job} was answered {answer.status_code}: {answer.text}")
