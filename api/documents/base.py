"""What the API answers: one pydantic model for each document."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer


class Document(BaseModel):
    model_config = ConfigDict(frozen=True, from_attributes=True)


class ProblemLocation(Document):
    pointer: str = Field(description="JSON pointer into what was sent", examples=["#/network/layers/3"])
    detail: str


class Problem(Document):
    """RFC 9457. What is not known is left out."""

    type: str = Field(description="What went wrong, as a path that never changes", examples=["/problems/job-not-found"])
    title: str
    status: int | None = None
    detail: str
    errors: list[ProblemLocation] | None = None
    request_id: str | None = None

    @model_serializer(mode="wrap")
    def _omit_unknown(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in serialize(self).items() if value is not None}
