"""Stream the changes of all jobs: those that run, the first of the queue, and those that have just ended.

All listeners share one look at the database for each second, as in `job_events`.
"""

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from shared.database.engine import Sessions
from shared.database.pagination import Page
from shared.database.tables.jobs import HELD, Job
from shared.jobs.queries import JobFilters, list_jobs, list_just_ended
from shared.jobs.queue.order import count_queue, list_places

POLL_SECONDS = 1.0
KEEPALIVE_SECONDS = 15.0
JUST_ENDED_SECONDS = 15.0
"""A job that ended so long ago is still looked at, so that no listener misses its end."""
MAX_RUNNING, MAX_QUEUED = 200, 100
"""The most jobs of a kind that are looked at."""
MAX_CHANGES = 1000
"""The changes that are kept for listeners that read slowly. One that needs more gets all jobs again."""


ToJson = Callable[[Job, int | None], str]
Sees = Callable[[Job], bool]
"""Tells whether a listener sees a job."""


def see_all(_: Job) -> bool:
    """See every job."""
    return True


@dataclass(frozen=True)
class _Present:
    """A present job with its document."""

    job: Job
    document: str


class ChangesFeed:
    """The present jobs and their latest changes, shared by all listeners. Safe for threads.

    `listeners` is the number of open streams. `to_json` writes a job with its place in the queue, None for other jobs.
    """

    def __init__(
        self,
        sessions: Sessions,
        to_json: ToJson,
        *,
        max_changes: int = MAX_CHANGES,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self.listeners = 0
        self._sessions = sessions
        self._to_json = to_json
        self._poll_seconds = poll_seconds
        self._jobs: dict[str, _Present] = {}  # by id
        self._queued = 0
        self._changes: deque[tuple[int, str, Job | None]] = deque(maxlen=max_changes)  # number, event, and its job
        self._last = 0  # number of the newest change
        self._lock = threading.Lock()
        self._refreshed_at = float("-inf")

    def read(self, after: int | None, sees: Sees = see_all) -> tuple[int, list[str]]:
        """Return the number of the newest change, and the events after `after` of the jobs that the listener sees.

        None, or a number whose next change is no longer kept, returns one event with all present jobs.
        """
        with self._lock:
            if time.monotonic() - self._refreshed_at >= self._poll_seconds:
                self._refresh()
            oldest = self._changes[0][0] if self._changes else self._last + 1
            if after is None or after + 1 < oldest:
                jobs = ",".join(present.document for present in self._jobs.values() if sees(present.job))
                return self._last, [_format("jobs", f'{{"jobs":[{jobs}],"queued":{self._queued}}}')]
            changes = (change for change in self._changes if change[0] > after)
            return self._last, [event for _, event, job in changes if job is None or sees(job)]

    def _refresh(self) -> None:
        with self._sessions() as session:
            running = list_jobs(session, Page(MAX_RUNNING), JobFilters(statuses=tuple(HELD)))
            places = list_places(session, MAX_QUEUED)
            ended = list_just_ended(session, JUST_ENDED_SECONDS, MAX_RUNNING)
            queued = count_queue(session) if len(places) == MAX_QUEUED else len(places)
            jobs = {str(job.id): _Present(job, self._to_json(job, None)) for job in (*running, *ended)}
            jobs |= {str(job.id): _Present(job, self._to_json(job, place)) for job, place in places}
        for job_id, present in jobs.items():
            if job_id not in self._jobs or self._jobs[job_id].document != present.document:
                self._add("job", present.document, present.job)
        if queued != self._queued:
            self._add("queue", json.dumps({"queued": queued}), None)
        self._jobs, self._queued, self._refreshed_at = jobs, queued, time.monotonic()

    def _add(self, kind: str, data: str, job: Job | None) -> None:
        self._last += 1
        self._changes.append((self._last, _format(kind, data), job))


def follow_changes(feed: ChangesFeed, send_seconds: float, sees: Sees) -> Iterator[str]:
    """Yield all present jobs that the listener sees, then each of their changes, without end.

    Ends if an event takes longer than `send_seconds`.

    Yields a comment after KEEPALIVE_SECONDS without an event.
    """
    after: int | None = None
    last_sent_at = time.monotonic()
    while True:
        after, events = feed.read(after, sees)
        for event in events:
            sent_at = time.monotonic()
            yield event
            if time.monotonic() - sent_at > send_seconds:
                return
        if events:
            last_sent_at = time.monotonic()
        elif time.monotonic() - last_sent_at > KEEPALIVE_SECONDS:
            yield ":\n\n"
            last_sent_at = time.monotonic()
        else:
            time.sleep(POLL_SECONDS / 4)


def _format(kind: str, data: str) -> str:
    return f"event: {kind}\ndata: {data}\n\n"
