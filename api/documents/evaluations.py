"""Define the documents about evaluations."""

from pydantic import Field

from api.documents.base import Document


class Mistake(Document):
    """A test row that was taken for another class; `index` is its place in the test part, from 0."""

    index: int
    true: str
    predicted: str
    probability: float = Field(description="Of the class predicted")


class MistakeList(Document):
    mistakes: list[Mistake]
    next: str | None
