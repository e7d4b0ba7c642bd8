"""Define how an attempt can end. `lifecycle.end_attempt` writes the outcome to the job."""

from dataclasses import dataclass

from shared.errors import TrainingFailure


@dataclass(frozen=True)
class Finished:
    """The attempt has written its result and the job's success, in one transaction."""


@dataclass(frozen=True)
class Cancelled:
    """The owner cancelled the job, and the attempt has stopped."""


@dataclass(frozen=True)
class HandedBack:
    """The worker shuts down: the job waits for another worker, and the attempt does not count."""


@dataclass(frozen=True)
class Failed:
    """The job cannot succeed; `failure` is what its owner should change."""

    failure: TrainingFailure


@dataclass(frozen=True)
class Requeued:
    """This machine failed. The job is tried again; it fails with `reason` when no attempt is left."""

    reason: TrainingFailure


Outcome = Finished | Cancelled | HandedBack | Failed | Requeued
