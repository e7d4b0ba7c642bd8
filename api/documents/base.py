"""Define the base class of documents, and the problem document."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer


class Document(BaseModel):
    """Base class of the JSON documents that the API returns."""

    model_config = ConfigDict(frozen=True, from_attributes=True)


RequestPart = Literal["body", "query", "path", "header"]


class ProblemLocation(Document):
    """A fault at one place of the request."""

    model_config = ConfigDict(frozen=True, from_attributes=True, populate_by_name=True)

    pointer: str = Field(
        description="JSON Pointer (RFC 6901) into the part of the request that `in` names.",
        examples=["#/network/layers/3"],
    )
    in_: RequestPart = Field(default="body", alias="in", description="The part of the request.")
    detail: str
    line: int | None = Field(default=None, description="The line of the place, from 1, in a document that is YAML.")
    column: int | None = Field(default=None, description="The column of the place, from 1.")

    @model_serializer(mode="wrap")
    def _omit_unknown(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in serialize(self).items() if value is not None}


class JobProblem(Document):
    """Why a job failed, as a problem document (RFC 9457) without a status."""

    type: str = Field(description="The type of the failure, as a path that never changes.")
    title: str
    detail: str


class Problem(Document):
    """A problem document (RFC 9457). Fields without a value are omitted."""

    type: str = Field(
        description="The type of the problem, as a path that never changes; `about:blank` for other HTTP errors.",
        examples=["/problems/job-not-found"],
    )
    title: str
    status: int | None = None
    detail: str
    errors: list[ProblemLocation] | None = None
    request_id: str | None = None

    @model_serializer(mode="wrap")
    def _omit_unknown(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in serialize(self).items() if value is not None}
