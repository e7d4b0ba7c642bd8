"""Convert texts to sequences of word indices, as Keras's `Tokenizer` and `pad_sequences` do.

Source: tf.keras.preprocessing.text and .sequence of Keras 2.15. Keras 3 has dropped both.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import islice
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from shared.errors import DatasetDoesNotFit
from shared.preprocessing.normalisation import Normalisation
from shared.spec.preprocessing import Scale
from shared.spec.text import Edge, TextPreprocessing, Tokenizer, Unknown

PADDING_INDEX = 0
UNKNOWN_INDEX = 1
UNKNOWN_WORD = "<unknown>"
"""Stands for every unknown word where a vocabulary is shown."""
MAX_WORD_CHARACTERS = 100
"""A longer word is always unknown, so that a vocabulary stays small."""
MAX_DISTINCT_WORDS = 5_000_000
PIECE_CHARACTERS = 2**16
"""A longer text is converted in pieces, until enough words are found."""


class TextContract(BaseModel):
    """The preprocessing of texts.

    Attributes:
        size: the number of indices: 0 for padding, then 1 for unknown words if they have one, then the words.
        length: the number of indices in a sequence.
        vocabulary: the words of the training part, the most frequent first; of equal ones, the first to occur. Empty
            before the vocabulary is fitted, and where a version is only described.
        needs_word: whether the network has no output for a text without a known word: an average over none of them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["texts"] = "texts"
    tokenizer: Tokenizer
    filters: str
    lower: bool
    unknown: Unknown
    size: int
    length: int
    pad: Edge
    truncate: Edge
    vocabulary: Annotated[tuple[str, ...], Field(exclude_if=lambda words: not words)] = ()
    needs_word: bool = False

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Return (length,)."""
        return (self.length,)

    @property
    def scale(self) -> Scale:
        """Return `none`: indices are not scaled."""
        return Scale.NONE

    @property
    def normalisation(self) -> Normalisation:
        """Return that which changes nothing: indices stay as they are."""
        return Normalisation()

    @property
    def first_index(self) -> int:
        """Return the index of the most frequent word."""
        return UNKNOWN_INDEX + (self.unknown is Unknown.TOKEN)

    @cached_property
    def indices(self) -> dict[str, int]:
        """Return the index of each word of the vocabulary."""
        return {word: index for index, word in enumerate(self.vocabulary, self.first_index)}

    @cached_property
    def _separators(self) -> dict[int, str]:
        return str.maketrans(dict.fromkeys(self.filters, " "))

    def iterate_tokens(self, text: str) -> Iterator[str]:
        """Yield the words of a text, or its characters, as the tokenizer separates them."""
        if self.lower:
            text = text.lower()
        if self.tokenizer is Tokenizer.CHARACTERS:
            yield from text
        else:
            yield from filter(None, text.translate(self._separators).split(" "))


def build_text_contract(wanted: TextPreprocessing) -> TextContract:
    """Build the contract from the spec, without a vocabulary."""
    return TextContract(
        tokenizer=wanted.tokenizer,
        filters=wanted.filters,
        lower=wanted.lower,
        unknown=wanted.unknown,
        size=wanted.vocabulary,
        length=wanted.length,
        pad=wanted.pad,
        truncate=wanted.truncate,
    )


def fit_vocabulary(contract: TextContract, texts: Iterable[str]) -> TextContract:
    """Return the contract with the most frequent words of the texts.

    Raises DatasetDoesNotFit for more than MAX_DISTINCT_WORDS words.
    """
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(word for word in contract.iterate_tokens(text) if len(word) <= MAX_WORD_CHARACTERS)
        if len(counts) > MAX_DISTINCT_WORDS:
            raise DatasetDoesNotFit(
                f"The texts have more than {MAX_DISTINCT_WORDS:,} different words, the limit. Use `tokenizer: "
                "characters`, or fewer rows (`dataset.limit`)."
            )
    by_frequency = sorted(counts, key=lambda word: -counts[word])  # stable: ties stay in the order of their occurrence
    return contract.model_copy(update={"vocabulary": tuple(by_frequency[: contract.size - contract.first_index])})


def encode_text(contract: TextContract, text: str) -> list[int]:
    """Return the indices of the words of a text. An unknown word has the index 1, or is left out, as `unknown` says."""
    return list(_iterate_indices(contract, contract.iterate_tokens(text)))


def pad_sequence(contract: TextContract, sequence: list[int], length: int) -> list[int]:
    """Return a sequence of `length` indices: cut off, or filled with 0, at the edges that the contract names."""
    kept = sequence[:length] if contract.truncate is Edge.POST else sequence[max(0, len(sequence) - length) :]
    padding = [PADDING_INDEX] * (length - len(kept))
    return kept + padding if contract.pad is Edge.POST else padding + kept


def encode_padded(contract: TextContract, text: str) -> NDArray[np.int32]:
    """Return the network's input for a text, (length,) int32.

    Of a long text, only so much is converted that the sequence is full.
    """
    sequence = encode_text(contract, text) if len(text) <= PIECE_CHARACTERS else _encode_long(contract, text)
    return np.asarray(pad_sequence(contract, sequence, contract.length), np.int32)


def encode_texts(contract: TextContract, texts: Iterable[str], out: NDArray[np.int32]) -> None:
    """Write the network's inputs for texts to `out`, (n, length) int32."""
    for row, text in enumerate(texts):
        out[row] = encode_padded(contract, text)


def _encode_long(contract: TextContract, text: str) -> list[int]:
    """Return at least `length` indices of the end of the text that is kept, or those of the whole text."""
    is_from_start = contract.truncate is Edge.POST
    sequence: list[int] = []
    for piece in _split_pieces(text) if is_from_start else reversed(list(_split_pieces(text))):
        indices = encode_text(contract, piece)
        sequence = sequence + indices if is_from_start else indices + sequence
        if len(sequence) >= contract.length:
            break
    return sequence


def _split_pieces(text: str) -> Iterator[str]:
    """Split a text at spaces into pieces of about PIECE_CHARACTERS, or more if a word is longer.

    A piece but the first begins with a space. What `lower` makes of a letter does not depend on letters before a space.
    """
    start = 0
    while start < len(text):
        end = text.find(" ", start + PIECE_CHARACTERS)
        end = len(text) if end < 0 else end
        yield text[start:end]
        start = end


def _iterate_indices(contract: TextContract, words: Iterable[str]) -> Iterator[int]:
    known = contract.indices
    if contract.unknown is Unknown.TOKEN:
        for word in words:
            yield known.get(word, UNKNOWN_INDEX)
    else:
        for word in words:
            if word in known:
                yield known[word]


def list_vocabulary(contract: TextContract, most: int) -> dict[str, int]:
    """Return the indices of the `most` first words, with that of unknown words."""
    listed = {UNKNOWN_WORD: UNKNOWN_INDEX} if contract.unknown is Unknown.TOKEN else {}
    return listed | dict(islice(contract.indices.items(), most))
