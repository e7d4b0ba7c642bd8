"""Everything that can go wrong by someone's doing, as a tree; `kind` names the problem and never changes."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Fault:
    """One place in a document and what is wrong there; the pointer is a JSON pointer, `#/training/epochs`."""

    pointer: str
    detail: str


class TrainyardError(Exception):
    """Its message is a sentence for the user: it names the value and, where there is one, the remedy."""

    kind: ClassVar[str]

    def __init__(self, detail: str, faults: tuple[Fault, ...] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.faults = faults


class ServiceError(TrainyardError):
    """A request that cannot be answered; the status it becomes stands in api/problems.py."""


class InvalidRequest(ServiceError):
    kind = "invalid-request"


class MalformedRequest(ServiceError):
    """Not even a document: the bytes cannot be read as what they are said to be."""

    kind = "malformed-request"


class RequestTooLarge(ServiceError):
    kind = "request-too-large"


class UnsupportedContent(ServiceError):
    kind = "unsupported-content"


class InvalidImage(ServiceError):
    kind = "invalid-image"


class ImageTooLarge(ServiceError):
    kind = "image-too-large"


class IdempotencyKeyReused(ServiceError):
    kind = "idempotency-key-reused"


class JobNotFound(ServiceError):
    kind = "job-not-found"


class JobHasEnded(ServiceError):
    kind = "job-has-ended"


class JobNotStarted(ServiceError):
    """There is nothing yet that could be published."""

    kind = "job-not-started"


class JobCannotBeRetried(ServiceError):
    kind = "job-cannot-be-retried"


class TooManyJobs(ServiceError):
    kind = "too-many-jobs"


class TooManyListeners(ServiceError):
    kind = "too-many-listeners"


class Overloaded(ServiceError):
    kind = "overloaded"


class DatabaseUnavailable(ServiceError):
    kind = "database-unavailable"


class ModelNotFound(ServiceError):
    kind = "model-not-found"


class VersionNotFound(ServiceError):
    kind = "version-not-found"


class VersionInUse(ServiceError):
    """An alias points at it."""

    kind = "version-in-use"


class FileNotFound(ServiceError):
    kind = "file-not-found"


class EvaluationNotFound(ServiceError):
    kind = "evaluation-not-found"


class DatasetNotFound(ServiceError):
    kind = "dataset-not-found"


class DatasetRefused(ServiceError):
    """A file that can neither become a data set nor be predicted on; each fault names a row or a member."""

    kind = "dataset-refused"


class LayerNotFound(ServiceError):
    kind = "layer-not-found"


class PictureNotFound(ServiceError):
    """There is nothing to draw."""

    kind = "picture-not-found"


class AliasNotFound(ServiceError):
    kind = "alias-not-found"


class PlanningUnavailable(ServiceError):
    kind = "planning-unavailable"


class VersionNotServable(ServiceError):
    kind = "version-not-servable"


class ArtifactDamaged(ServiceError):
    kind = "artifact-damaged"


class TrainingFailure(TrainyardError):
    """A job that ends as `failed`, with what its owner should change."""


class DatasetUnavailable(TrainingFailure):
    kind = "dataset-unavailable"


class VersionUnusable(TrainingFailure):
    kind = "version-unusable"


class DatasetDoesNotFit(TrainingFailure):
    kind = "dataset-does-not-fit"


class NetworkDoesNotFit(TrainingFailure):
    kind = "network-does-not-fit"


class LossIsNotFinite(TrainingFailure):
    kind = "loss-is-not-finite"


class OutOfMemory(TrainingFailure):
    kind = "out-of-memory"


class DeviceUnavailable(TrainingFailure):
    kind = "device-unavailable"


class TimeLimitReached(TrainingFailure):
    kind = "time-limit-reached"


class ExportDisagrees(TrainingFailure):
    kind = "export-disagrees"


class AttemptsUsedUp(TrainingFailure):
    kind = "attempts-used-up"


class StorageUnavailable(TrainingFailure):
    kind = "storage-unavailable"


class InternalError(TrainingFailure):
    kind = "internal-error"
