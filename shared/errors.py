"""Define the errors that users see. `kind` names the problem in the API and never changes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import ClassVar, Literal

MAX_FAULTS = 50
"""Limit on the faults that one answer tells."""


@dataclass(frozen=True)
class Fault:
    """A fault at one place of a document.

    Attributes:
        pointer: JSON Pointer (RFC 6901) to the place, as a URI fragment: `#/training/epochs`.
        detail: a sentence for the user.
        where: the part of the request: `body`, `query`, `path` or `header`.
        line: the line of the place in a YAML document, from 1; None if it is not known.
        column: its column, from 1.
    """

    pointer: str
    detail: str
    where: Literal["body", "query", "path", "header"] = "body"
    line: int | None = None
    column: int | None = None


def overlaps(fault: Fault, others: Iterable[Fault]) -> bool:
    """Return whether a fault stands in the place of one of the others, above it or below it."""
    return any(
        f"{fault.pointer}/".startswith(f"{other.pointer}/") or f"{other.pointer}/".startswith(f"{fault.pointer}/")
        for other in others
    )


def suggest(name: str, known: Iterable[str]) -> str:
    """Return the sentence ` Did you mean …?` for the known name that is most similar; empty if none is similar."""
    by_lower = {one.lower(): one for one in known}
    near = get_close_matches(name[:100].lower(), by_lower, n=1, cutoff=0.75)
    return f" Did you mean {by_lower[near[0]]!r}?" if near else ""


def list_names(names: Sequence[str], limit: int = 20) -> str:
    """Return the first `limit` names in quotes, for a message: `'a', 'b', …`."""
    return ", ".join(map(repr, names[:limit])) + (", …" if len(names) > limit else "")


class TrainyardError(Exception):
    """Base class of all errors that users see.

    Attributes:
        detail: a sentence for the user that names the value and, if there is one, the remedy.
        faults: the places in the request that are wrong, if they are known.
    """

    kind: ClassVar[str]

    def __init__(self, detail: str, faults: tuple[Fault, ...] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.faults = faults


class ServiceError(TrainyardError):
    """Base class of the errors of a request. api/http/problems.py maps each to an HTTP status."""


class HostNotAllowed(ServiceError):
    """Raised when the header `Host` is not a name of the API."""

    kind = "host-not-allowed"


class OriginNotAllowed(ServiceError):
    """Raised when a web page of another site sends a request."""

    kind = "origin-not-allowed"


class NotAuthenticated(ServiceError):
    """Raised when a request needs a key, and has none that is valid."""

    kind = "not-authenticated"


class KeyExpired(ServiceError):
    """Raised when the time of a key is over."""

    kind = "key-expired"


class NotAllowed(ServiceError):
    """Raised when the role or the key of a caller does not allow a request."""

    kind = "not-allowed"


class NoAdminYet(ServiceError):
    """Raised for every request until the first admin has accepted its invitation."""

    kind = "no-admin-yet"


class LastAdmin(ServiceError):
    """Raised when a change would leave the service without an admin."""

    kind = "last-admin"


class AccessIsOff(ServiceError):
    """Raised by requests for users and keys where nobody signs in."""

    kind = "access-is-off"


class NameTaken(ServiceError):
    """Raised when a user wants to publish or upload under a name of somebody else."""

    kind = "name-taken"


class IdentityProviderUnavailable(ServiceError):
    """Raised when the OpenID provider does not answer, or not as one."""

    kind = "identity-provider-unavailable"


class IdentityTaken(ServiceError):
    """Raised when an account at the OpenID provider is that of another user."""

    kind = "identity-taken"


class SignInFailed(ServiceError):
    """Raised when a sign-in with the OpenID provider was not begun here, or does not end as it should."""

    kind = "sign-in-failed"


class LoginTaken(ServiceError):
    """Raised when the login of a new user is that of another one."""

    kind = "login-taken"


class UserNotFound(ServiceError):
    """Raised when there is no such user."""

    kind = "user-not-found"


class ProjectNotFound(ServiceError):
    """Raised when there is no such project that the caller may see."""

    kind = "project-not-found"


class TooManySignIns(ServiceError):
    """Raised when too many wrong keys were sent to sign in."""

    kind = "too-many-sign-ins"


class RateExceeded(ServiceError):
    """Raised when a key sends more requests a second than it may."""

    kind = "rate-exceeded"


class ProjectArchived(ServiceError):
    """Raised when something in an archived project is to change."""

    kind = "project-archived"


class KeyNotFound(ServiceError):
    """Raised when there is no such key that the caller may see."""

    kind = "key-not-found"


class TooManyKeys(ServiceError):
    """Raised when a user would have more valid keys than the limit."""

    kind = "too-many-keys"


class InvitationNotFound(ServiceError):
    """Raised when there is no such open invitation."""

    kind = "invitation-not-found"


class InvitationUnusable(ServiceError):
    """Raised when the link of an invitation was used, has expired or was withdrawn."""

    kind = "invitation-unusable"


class InvalidRequest(ServiceError):
    """Raised when a request can be parsed but its content is invalid. Each fault names a place."""

    kind = "invalid-request"


class MalformedRequest(ServiceError):
    """Raised when the bytes of a request cannot be parsed in the format of its Content-Type."""

    kind = "malformed-request"


class RequestTooLarge(ServiceError):
    """Raised when a request has more bytes than the limit."""

    kind = "request-too-large"


class UnsupportedContent(ServiceError):
    """Raised when a route does not accept the Content-Type of a request."""

    kind = "unsupported-content"


class InvalidImage(ServiceError):
    """Raised when an image cannot be decoded."""

    kind = "invalid-image"


class ImageTooLarge(ServiceError):
    """Raised when an image has more bytes or more pixels than the limit."""

    kind = "image-too-large"


class IdempotencyKeyReused(ServiceError):
    """Raised when an owner sends an idempotency key again with a different request."""

    kind = "idempotency-key-reused"


class JobNotFound(ServiceError):
    """Raised when there is no such job."""

    kind = "job-not-found"


class JobHasEnded(ServiceError):
    """Raised when a user cancels or stops a job that has ended, or stops a job that is being cancelled."""

    kind = "job-has-ended"


class JobHasStarted(ServiceError):
    """Raised when a user changes the priority of a job that no longer waits."""

    kind = "job-has-started"


class JobNotStarted(ServiceError):
    """Raised when a user stops a queued job that has no checkpoint, so there are no weights to publish."""

    kind = "job-not-started"


class JobCannotBeRetried(ServiceError):
    """Raised when a user retries a job that is not failed or cancelled, or whose input files are deleted."""

    kind = "job-cannot-be-retried"


class TooManyJobs(ServiceError):
    """Raised when the queue would contain more jobs of one owner than TRAINYARD_MAX_QUEUED_PER_OWNER."""

    kind = "too-many-jobs"


class QuotaExceeded(ServiceError):
    """Raised when a user or a project would have more than its quota."""

    kind = "quota-exceeded"


class DiskFull(ServiceError):
    """Raised when the disk has less free space than TRAINYARD_RESERVED_DISK_BYTES, and a request would take some."""

    kind = "disk-full"


class TooManyListeners(ServiceError):
    """Raised when this API process already has the maximum number of open event streams."""

    kind = "too-many-listeners"


class Overloaded(ServiceError):
    """Raised when too many requests wait in one of the queues, or a request has waited for too long."""

    kind = "overloaded"


class DatabaseUnavailable(ServiceError):
    """Raised when the database is unreachable."""

    kind = "database-unavailable"


class ModelNotFound(ServiceError):
    """Raised when there is no such model."""

    kind = "model-not-found"


class VersionNotFound(ServiceError):
    """Raised when a model has no version with this number or alias."""

    kind = "version-not-found"


class JobInUse(ServiceError):
    """Raised when a user deletes a job that has not ended, or whose version is published."""

    kind = "job-in-use"


class DatasetInUse(ServiceError):
    """Raised when a user deletes data that a job reads, or that a version was trained on."""

    kind = "dataset-in-use"


class VersionNotPublished(ServiceError):
    """Raised when something needs the number of a version that has none."""

    kind = "version-not-published"


class VersionInUse(ServiceError):
    """Raised when a user deletes a version that an alias points to."""

    kind = "version-in-use"


class FileNotFound(ServiceError):
    """Raised when a version or a job has no such file."""

    kind = "file-not-found"


class EvaluationNotFound(ServiceError):
    """Raised when a version has no such evaluation, or a job is no fold of a cross-validation."""

    kind = "evaluation-not-found"


class DatasetNotFound(ServiceError):
    """Raised when there is no such uploaded data set, or no such revision of it."""

    kind = "dataset-not-found"


class DatasetRefused(ServiceError):
    """Raised when an uploaded file cannot be used as data. Each fault names a row or a member of the archive."""

    kind = "dataset-refused"


class LayerNotFound(ServiceError):
    """Raised when a version has no layer with this name."""

    kind = "layer-not-found"


class PictureNotFound(ServiceError):
    """Raised when the requested picture does not exist, such as the kernels of a Dense layer."""

    kind = "picture-not-found"


class AliasNotFound(ServiceError):
    """Raised when a model has no such alias."""

    kind = "alias-not-found"


class PlanningUnavailable(ServiceError):
    """Raised when the planning process, in which the API checks networks, does not start."""

    kind = "planning-unavailable"


class VersionNotServable(ServiceError):
    """Raised when a version comes from an incompatible release, or fails the check on its golden samples."""

    kind = "version-not-servable"


class ArtifactDamaged(ServiceError):
    """Raised when a file is missing from the artifact store, or its content does not match its digest."""

    kind = "artifact-damaged"


class TrainingFailure(TrainyardError):
    """Base class of the errors that end a job as `failed`. The message says what the owner can change."""


class DatasetUnavailable(TrainingFailure):
    """Raised when a worker cannot read or download the data set of a job."""

    kind = "dataset-unavailable"


class VersionUnusable(TrainingFailure):
    """Raised when a version that a job uses was deleted or damaged after the job was submitted."""

    kind = "version-unusable"


class DatasetDoesNotFit(TrainingFailure):
    """Raised when the rows of a data set cannot be split as the spec requires."""

    kind = "dataset-does-not-fit"


class NetworkDoesNotFit(TrainingFailure):
    """Raised when Keras or TensorFlow rejects the combination of network, loss, labels and data."""

    kind = "network-does-not-fit"


class LossIsNotFinite(TrainingFailure):
    """Raised when the loss becomes infinite or NaN."""

    kind = "loss-is-not-finite"


class OutOfMemory(TrainingFailure):
    """Raised when a training needs more memory than is available."""

    kind = "out-of-memory"


class DeviceUnavailable(TrainingFailure):
    """Raised when a job requests a GPU and TensorFlow finds none."""

    kind = "device-unavailable"


class TimeLimitReached(TrainingFailure):
    """Raised when a training takes longer than `resources.max_minutes`."""

    kind = "time-limit-reached"


class ExportDisagrees(TrainingFailure):
    """Raised when the outputs of the exported ONNX file differ from those of Keras."""

    kind = "export-disagrees"


class ImportDisagrees(TrainingFailure):
    """Raised when an imported network answers the samples otherwise than the model from which it comes."""

    kind = "import-disagrees"


class ExportNotPossible(TrainingFailure):
    """Raised when another system cannot compute the network of a version."""

    kind = "export-not-possible"


class AttemptsUsedUp(TrainingFailure):
    """Recorded when TRAINYARD_MAX_ATTEMPTS attempts in a row were lost without progress."""

    kind = "attempts-used-up"


class StorageUnavailable(TrainingFailure):
    """Recorded when the last attempt of a job could not read or write files."""

    kind = "storage-unavailable"


class InternalError(TrainingFailure):
    """Recorded when an unexpected error ends a job. The log of the worker contains the traceback."""

    kind = "internal-error"
