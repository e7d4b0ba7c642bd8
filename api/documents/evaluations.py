"""Define the documents about evaluations."""

from pydantic import Field

from api.documents.base import Document


class Mistake(Document):
    """A misclassified test row. `index` is its position in the test part, from 0."""

    index: int
    true: str
    predicted: str
    probability: float = Field(description="The probability of the predicted class.")


class MistakeList(Document):
    """A page of misclassified test rows. `next` is the cursor of the next page; null if no page follows."""

    mistakes: list[Mistake]
    next: str | None
