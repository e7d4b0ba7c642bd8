"""Define the prediction request and the reply that all wire formats share."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import NamedTuple

VERSION_HEADER = "Trainyard-Version"
JSON = "application/json"


@dataclass(frozen=True, slots=True)
class PredictionCall:
    """A prediction request without its body. Wire formats add fields of their own.

    Attributes:
        route: the name of the call in the metrics.
        reference: a version number, `latest` or an alias; None for the version that the model serves.
        max_bytes: the largest size of the body.
    """

    route: str
    model: str
    reference: str | None
    max_bytes: int


class Reply(NamedTuple):
    body: bytes
    media_type: str = JSON
    status: HTTPStatus = HTTPStatus.OK
    headers: tuple[tuple[str, str], ...] = ()
