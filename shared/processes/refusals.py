"""Send an error of a request from a child process to its parent."""

from pydantic import BaseModel

from shared.errors import Fault, ServiceError


class Refusal(BaseModel):
    """A ServiceError as JSON. `kind` is that of its class."""

    kind: str
    detail: str
    faults: tuple[Fault, ...] = ()

    @classmethod
    def from_error(cls, error: ServiceError) -> "Refusal":
        return cls(kind=error.kind, detail=error.detail, faults=error.faults)

    def to_error(self) -> ServiceError:
        """Return the error, to be raised."""
        error = next(error for error in ServiceError.__subclasses__() if error.kind == self.kind)
        return error(self.detail, self.faults)
