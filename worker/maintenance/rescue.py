"""Sets right what a crash left behind: leases run out, jobs that wait without a bell."""

import logging

from shared.database.engine import Sessions
from shared.jobs import lifecycle, scheduling
from shared.jobs.broker import Bell
from shared.jobs.lifecycle import Patience

logger = logging.getLogger(__name__)


def reconcile(sessions: Sessions, bell: Bell, patience: Patience) -> None:
    """Harmless however often it runs, and in however many places at once."""
    with sessions.begin() as session:
        taken = lifecycle.take_from_expired(session, patience)
    for job in taken:
        logger.warning("job %s taken from a lost worker, now %s", job.id, job.status)
    with sessions() as session:
        waiting = scheduling.devices_waited_for(session)
    for device in waiting:
        bell.ring(device)
