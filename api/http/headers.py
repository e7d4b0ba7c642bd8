"""Define the request headers that several routes share."""

from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints


class SubmitHeader(BaseModel):
    idempotency_key: Annotated[str | None, StringConstraints(min_length=1, max_length=255)] = Field(
        default=None, alias="Idempotency-Key", description="The same key and spec answer the same job for 24 hours"
    )
