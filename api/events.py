"""A job's events as a stream that lasts as long as the job."""

import json
import time
from collections.abc import Iterator
from uuid import UUID

from shared import jobs
from shared.database import Sessions
from shared.tables import ENDED, JobEvent

EVENTS_AT_ONCE = 200
SECONDS_BETWEEN_LOOKS = 0.5
SECONDS_BETWEEN_SIGNS_OF_LIFE = 15.0


def follow(sessions: Sessions, job_id: UUID, after: int) -> Iterator[str]:
    """Server-sent events from the one after `after`, to the one that says how the job ended."""
    last_sign = time.monotonic()
    while True:
        with sessions() as session:
            events = jobs.events_after(session, job_id, after, EVENTS_AT_ONCE)
        for event in events:
            yield _lines(event)
            if event.content.get("status") in ENDED:
                return
        if events:
            after, last_sign = events[-1].number, time.monotonic()
        elif time.monotonic() - last_sign > SECONDS_BETWEEN_SIGNS_OF_LIFE:
            yield ":\n\n"  # a comment: proxies keep the connection, and one that is gone is noticed
            last_sign = time.monotonic()
        if len(events) < EVENTS_AT_ONCE:
            time.sleep(SECONDS_BETWEEN_LOOKS)


def _lines(event: JobEvent) -> str:
    return f"id: {event.number}\nevent: {event.kind}\ndata: {json.dumps(event.content)}\n\n"
