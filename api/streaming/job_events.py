"""Stream the events of a job until it ends.

All listeners of a job share one feed. A listener that finds the feed older than POLL_SECONDS refreshes it for all, so
the number of database queries does not grow with the number of listeners.
"""

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from typing import Self, TypeVar, cast
from uuid import UUID

from api.streaming.job_changes import ChangesFeed, Sees, ToJson, follow_changes, see_all
from shared.database.engine import Sessions
from shared.database.tables.jobs import ENDED, JobEvent
from shared.errors import TooManyListeners
from shared.jobs import events

POLL_SECONDS = 1.0
KEEPALIVE_SECONDS = 15.0


@dataclass(frozen=True)
class FeedLimits:
    """Limits of the feeds of one API process.

    Attributes:
        listeners: maximum number of open streams. Each occupies a thread.
        events_per_read: maximum number of events that one query reads.
        events_in_memory: maximum number of events of one job that are kept in memory.
        send_seconds: a listener that takes longer to receive one event is disconnected. It can reconnect with
            `Last-Event-ID`.
    """

    listeners: int
    events_per_read: int = 500
    events_in_memory: int = 2000
    send_seconds: float = 10.0


class JobFeed:
    """The latest events of one job, shared by its listeners. Safe for threads.

    `listeners` is the number of open streams.
    """

    def __init__(self, sessions: Sessions, job_id: UUID, limits: FeedLimits) -> None:
        self.listeners = 0
        self._limits = limits
        self._sessions = sessions
        self._job_id = job_id
        self._events: deque[JobEvent] = deque(maxlen=limits.events_in_memory)
        self._all_after: int | None = None  # memory has every event after this number; None: not read yet
        self._refresh_lock = threading.Lock()
        self._refreshed_at = float("-inf")

    def list_after(self, number: int) -> list[JobEvent]:
        """Return the next events after this number, in order; empty if there are none yet.

        At most `events_per_read` events are returned if they are no longer in memory.
        """
        with self._refresh_lock:
            if time.monotonic() - self._refreshed_at >= POLL_SECONDS:
                self._refresh(number)
            if self._all_after is not None and number >= self._all_after:
                newer = takewhile(lambda event: event.number > number, reversed(self._events))
                return list(newer)[::-1]
        return self._read(number)  # no longer in memory: read for this listener alone

    def _refresh(self, number: int) -> None:
        """Read new events into memory. The first refresh starts after `number`."""
        if self._all_after is None:
            self._all_after = number
        newest = self._events[-1].number if self._events else self._all_after
        while events := self._read(newest):
            newest = events[-1].number
            self._events.extend(events)
            self._all_after = max(self._all_after, self._events[0].number - 1)
            if len(events) < self._limits.events_per_read:
                break
        self._refreshed_at = time.monotonic()

    def _read(self, number: int) -> list[JobEvent]:
        with self._sessions() as session:
            return events.list_events(session, self._job_id, number, self._limits.events_per_read)


Feed = TypeVar("Feed", JobFeed, ChangesFeed)


class JobFeeds:
    """The feeds that have listeners: of single jobs, and of the changes of all jobs. Safe for threads.

    `to_json` writes a job for the stream of all changes, as in `ChangesFeed`.
    """

    def __init__(self, sessions: Sessions, limits: FeedLimits, to_json: ToJson) -> None:
        self._sessions = sessions
        self._limits = limits
        self._to_json = to_json
        self._feeds: dict[UUID | None, JobFeed | ChangesFeed] = {}  # that of all jobs has the key None
        self._lock = threading.Lock()

    def follow(self, job_id: UUID, after: int) -> "EventStream":
        """Open a stream of the Server-Sent Events after the number `after`. Raises TooManyListeners.

        The caller must close the stream, also if nothing was read from it.
        """
        feed = self._add_listener(job_id, lambda: JobFeed(self._sessions, job_id, self._limits))
        return EventStream(self._follow(feed, after), partial(self._remove_listener, job_id))

    def follow_all(self, sees: Sees = see_all) -> "EventStream":
        """Open a stream of the changes of all jobs that the listener sees. Raises TooManyListeners.

        The caller must close the stream.
        """
        feed = self._add_listener(None, lambda: ChangesFeed(self._sessions, self._to_json))
        return EventStream(follow_changes(feed, self._limits.send_seconds, sees), partial(self._remove_listener, None))

    def _add_listener(self, key: UUID | None, make: Callable[[], Feed]) -> Feed:
        """Return the feed with this key, which is made for its first listener. Raises TooManyListeners."""
        with self._lock:
            listeners = sum(feed.listeners for feed in self._feeds.values())
            if listeners >= self._limits.listeners:
                raise TooManyListeners(
                    f"{listeners} event streams are open, the limit (half of TRAINYARD_API_THREADS). Request the jobs "
                    "repeatedly instead, or retry later."
                )
            feed = cast(Feed, self._feeds.get(key) or self._feeds.setdefault(key, make()))
            feed.listeners += 1
        return feed

    def _remove_listener(self, job_id: UUID | None) -> None:
        """Remove a listener from a feed. The feed is deleted with its last listener."""
        with self._lock:
            feed = self._feeds[job_id]
            feed.listeners -= 1
            if feed.listeners == 0:
                del self._feeds[job_id]

    def _follow(self, feed: JobFeed, after: int) -> Iterator[str]:
        """Yield the events after the number `after`, up to the one with the final status.

        Yields a comment after KEEPALIVE_SECONDS without an event.
        """
        last_sent_at = time.monotonic()
        while True:
            events = feed.list_after(after)
            for event in events:
                sent_at = time.monotonic()
                yield _format_event(event)
                if event.content.get("status") in ENDED or time.monotonic() - sent_at > self._limits.send_seconds:
                    return
            if events:
                after, last_sent_at = events[-1].number, time.monotonic()
            elif time.monotonic() - last_sent_at > KEEPALIVE_SECONDS:
                yield ":\n\n"  # a comment: proxies keep the connection open, and a closed one is detected
                last_sent_at = time.monotonic()
            else:
                time.sleep(POLL_SECONDS / 4)


class EventStream:
    """The events of a job for one listener, which is counted from `follow` until the stream ends or is closed.

    It is not a generator: the `finally` of a generator does not run if nothing was read from it.
    """

    def __init__(self, events: Iterator[str], remove_listener: Callable[[], None]) -> None:
        self._events = events
        self._remove_listener: Callable[[], None] | None = remove_listener

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        try:
            return next(self._events)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the stream. A second call has no effect."""
        remove, self._remove_listener = self._remove_listener, None
        if remove is not None:
            remove()


def _format_event(event: JobEvent) -> str:
    return f"id: {event.number}\nevent: {event.kind}\ndata: {json.dumps(event.content)}\n\n"
