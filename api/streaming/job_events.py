"""A job's events as a stream that lasts as long as the job.

All listeners to one job share a feed: whoever finds that it is a second old looks for all of them.
"""

import json
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile
from uuid import UUID

from shared.database.engine import Sessions
from shared.database.tables.jobs import ENDED, JobEvent
from shared.errors import TooManyListeners
from shared.jobs import events

MAX_EVENTS_PER_READ = 500
MAX_EVENTS_IN_MEMORY = 2000
POLL_SECONDS = 1.0
KEEPALIVE_SECONDS = 15.0
MAX_SEND_SECONDS = 10.0
"""A listener that takes so long for one event is dropped: it may come back with `Last-Event-ID`, when it has time."""


class JobFeed:
    """What happened to one job of late, for those who listen now."""

    def __init__(self, sessions: Sessions, job_id: UUID) -> None:
        self.listeners = 0
        self._sessions = sessions
        self._job_id = job_id
        self._events: deque[JobEvent] = deque(maxlen=MAX_EVENTS_IN_MEMORY)
        self._all_after: int | None = None  # every event after this number is remembered
        self._looking = threading.Lock()
        self._looked_at = float("-inf")

    def list_after(self, number: int) -> list[JobEvent]:
        """The next events, in order; none while there is nothing new."""
        with self._looking:
            if time.monotonic() - self._looked_at >= POLL_SECONDS:
                self._refresh(number)
            if self._all_after is not None and number >= self._all_after:
                newer = takewhile(lambda event: event.number > number, reversed(self._events))
                return list(newer)[::-1]
        return self._read(number)  # of long ago: for this listener alone

    def _refresh(self, number: int) -> None:
        if self._all_after is None:
            self._all_after = number
        newest = self._events[-1].number if self._events else self._all_after
        while events := self._read(newest):
            newest = events[-1].number
            self._events.extend(events)
            self._all_after = max(self._all_after, self._events[0].number - 1)
            if len(events) < MAX_EVENTS_PER_READ:
                break
        self._looked_at = time.monotonic()

    def _read(self, number: int) -> list[JobEvent]:
        with self._sessions() as session:
            return events.list_events(session, self._job_id, number, MAX_EVENTS_PER_READ)


class JobFeeds:
    """Of all jobs that somebody listens to. Each listener holds a thread: there are never more than `most`."""

    def __init__(self, sessions: Sessions, most: int) -> None:
        self._sessions = sessions
        self._most = most
        self._feeds: dict[UUID, JobFeed] = {}
        self._changing = threading.Lock()

    @contextmanager
    def open_feed(self, job_id: UUID) -> Iterator[JobFeed]:
        with self._changing:
            feed = self._feeds.setdefault(job_id, JobFeed(self._sessions, job_id))
            feed.listeners += 1
        try:
            yield feed
        finally:
            with self._changing:
                feed.listeners -= 1
                if feed.listeners == 0:
                    del self._feeds[job_id]

    def check_capacity(self) -> None:
        """Raises TooManyListeners."""
        with self._changing:
            listeners = sum(feed.listeners for feed in self._feeds.values())
        if listeners >= self._most:
            raise TooManyListeners(f"{listeners} listen to events here, and no more can: ask for the job now and then.")

    def follow(self, job_id: UUID, after: int) -> Iterator[str]:
        """Server-sent events from the one after `after`, to the one that says how the job ended."""
        last_sign = time.monotonic()
        with self.open_feed(job_id) as feed:
            while True:
                events = feed.list_after(after)
                for event in events:
                    told_at = time.monotonic()
                    yield _format_event(event)
                    if event.content.get("status") in ENDED or time.monotonic() - told_at > MAX_SEND_SECONDS:
                        return
                if events:
                    after, last_sign = events[-1].number, time.monotonic()
                elif time.monotonic() - last_sign > KEEPALIVE_SECONDS:
                    yield ":\n\n"  # a comment: proxies keep the connection, and one that is gone is noticed
                    last_sign = time.monotonic()
                else:
                    time.sleep(POLL_SECONDS / 4)


def _format_event(event: JobEvent) -> str:
    return f"id: {event.number}\nevent: {event.kind}\ndata: {json.dumps(event.content)}\n\n"
