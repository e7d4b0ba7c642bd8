"""Rescue jobs after a crash: requeue those with an expired lease, and notify again of queued jobs."""

import logging

from shared.database.engine import Sessions
from shared.jobs import lifecycle
from shared.jobs.broker import JobNotifier
from shared.jobs.lifecycle import RetryPolicy
from shared.jobs.queue import scheduling

logger = logging.getLogger(__name__)


def rescue_jobs(sessions: Sessions, notifier: JobNotifier, retry_policy: RetryPolicy) -> None:
    """Requeue the jobs whose lease has expired, then notify workers of the queued jobs.

    Can run at any time, also in several processes at once.
    """
    with sessions.begin() as session:
        rescued = lifecycle.rescue_expired(session, retry_policy)
    for job in rescued:
        logger.warning("job %s rescued from a lost worker, now %s", job.id, job.status)
    with sessions() as session:
        waiting = scheduling.list_waiting_devices(session)
    for device in waiting:
        notifier.notify(device)
