"""Define the preprocessing of texts in a training spec."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from shared.spec.fields import SpecPart

KERAS_FILTERS = '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n'
"""The characters that Keras's Tokenizer replaces by spaces."""
MAX_VOCABULARY = 100_000
MAX_LENGTH = 10_000


class Tokenizer(StrEnum):
    """How a text is separated. Default: `words`.

    `words` are separated by spaces. `characters` are single characters, for languages such as Korean, whose words have
    many endings.
    """

    WORDS = "words"
    CHARACTERS = "characters"


class Edge(StrEnum):
    """An end of a sequence: `pre` is its beginning, `post` its end. Default: `pre`."""

    PRE = "pre"
    POST = "post"


class Unknown(StrEnum):
    """How to convert a word that is not in the vocabulary. Default: `drop`.

    `drop` leaves it out. `token` gives all of them the index 1, and the vocabulary begins with 2.
    """

    DROP = "drop"
    TOKEN = "token"  # noqa: S105 - a word, no password


class Tokenization(SpecPart):
    """The conversion of texts into sequences of word indices of any length."""

    tokenizer: Tokenizer = Tokenizer.WORDS
    vocabulary: Annotated[
        int,
        Field(
            strict=True,
            ge=3,
            le=MAX_VOCABULARY,
            description="Number of indices, with that of padding: `num_words` of Keras, and `input_dim` of the "
            "Embedding. Rarer words are unknown.",
        ),
    ] = 10_000
    pad: Edge = Edge.PRE
    truncate: Edge = Edge.PRE
    lower: Annotated[bool, Field(strict=True, description="Whether capital letters become small.")] = True
    unknown: Unknown = Unknown.DROP
    filters: Annotated[str, Field(max_length=200, description="Characters that separate words, besides the space.")] = (
        KERAS_FILTERS
    )

    @model_validator(mode="after")
    def _check_filters(self) -> Self:
        if self.tokenizer is Tokenizer.CHARACTERS and self.filters != KERAS_FILTERS:
            raise ValueError("`filters` separate words, and the tokenizer is `characters`. Remove the key.")
        return self


class TextPreprocessing(Tokenization):
    """The conversion of texts into sequences of word indices, as Keras's `Tokenizer` and `pad_sequences` do.

    The vocabulary is that of the training part. Index 0 is padding, and 1 the most frequent word.
    """

    length: Annotated[
        int, Field(strict=True, ge=1, le=MAX_LENGTH, description="Number of indices in a sequence: `maxlen` of Keras.")
    ] = 100
