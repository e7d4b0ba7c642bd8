"""Define how an attempt can end. `lifecycle.end_attempt` writes the outcome to the job."""

from dataclasses import dataclass

from shared.errors import TrainingFailure


@dataclass(frozen=True)
class Finished:
    """The attempt has written its result and the success of the job, so nothing is left to write."""


@dataclass(frozen=True)
class Cancelled:
    """The owner cancelled the job, and the attempt has stopped."""


@dataclass(frozen=True)
class HandedBack:
    """The worker shuts down. The job waits for another worker, and the attempt does not count as lost."""


@dataclass(frozen=True)
class Failed:
    """The job cannot succeed. `failure` tells the owner the cause and the remedy."""

    failure: TrainingFailure


@dataclass(frozen=True)
class Requeued:
    """An error of this machine ended the attempt. The job is requeued, or fails with `reason` if no attempt is left."""

    reason: TrainingFailure


Outcome = Finished | Cancelled | HandedBack | Failed | Requeued
