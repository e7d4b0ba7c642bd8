"""Define the request headers that several routes share."""

from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints


class SubmitHeader(BaseModel):
    """Headers of a request that submits a job."""

    idempotency_key: Annotated[str | None, StringConstraints(min_length=1, max_length=255)] = Field(
        default=None,
        alias="Idempotency-Key",
        description=(
            "A key that you choose. For 24 hours, a request with the same key and the same spec returns the same job. "
            "The same key with another spec is refused."
        ),
    )
