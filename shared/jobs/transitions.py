"""Define the allowed changes of a job's status, and who makes them. docs/jobs.md shows the same table."""

from dataclasses import dataclass

from shared.database.tables.jobs import JobStatus

QUEUED, RUNNING, STOPPING, CANCELLING = (
    JobStatus.QUEUED,
    JobStatus.RUNNING,
    JobStatus.STOPPING,
    JobStatus.CANCELLING,
)
SUCCEEDED, FAILED, CANCELLED = JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED


@dataclass(frozen=True)
class Transition:
    """A change of a job's status.

    Attributes:
        name: name of the transition in docs/jobs.md.
        by: who makes the transition. An attempt can make it only while it holds the lease of the job.
        changes: the new status for each old status. From any other status, the transition is not allowed.
    """

    name: str
    by: str
    changes: dict[JobStatus, JobStatus]


CLAIM = Transition("claim", "an idle worker", {QUEUED: RUNNING})
CANCEL = Transition("cancel", "the owner", {QUEUED: CANCELLED, RUNNING: CANCELLING, STOPPING: CANCELLING})
STOP = Transition("stop", "the owner", {RUNNING: STOPPING})
SUCCEED = Transition("succeed", "the attempt", {RUNNING: SUCCEEDED, STOPPING: SUCCEEDED})
FAIL = Transition("fail", "the attempt", {RUNNING: FAILED, STOPPING: FAILED, CANCELLING: CANCELLED})
FINISH_CANCELLING = Transition("finish cancelling", "the attempt", {CANCELLING: CANCELLED})
HAND_BACK = Transition(
    "hand back", "a worker that shuts down", {RUNNING: QUEUED, STOPPING: QUEUED, CANCELLING: CANCELLED}
)
LOSE = Transition(
    "lose",
    "the reconciler, the worker whose training process is gone, or an attempt that cannot store its files",
    {RUNNING: QUEUED, STOPPING: QUEUED, CANCELLING: CANCELLED},
)
GIVE_UP = Transition("give up", "the same, when no attempt is left", {RUNNING: FAILED, STOPPING: FAILED})

TRANSITIONS = (CLAIM, CANCEL, STOP, SUCCEED, FAIL, FINISH_CANCELLING, HAND_BACK, LOSE, GIVE_UP)
