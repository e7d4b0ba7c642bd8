"""Show what becomes of texts before a network sees them."""

from itertools import islice
from typing import Annotated, Self

from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from pydantic import Field, model_validator

from api.access.needs import needs
from api.documents.base import Document
from api.http.requests import parse_request
from api.http.responses import describe_problems, to_response
from api.services import services
from shared.access.rights import Scope
from shared.errors import ArtifactDamaged, Fault, InvalidRequest, ModelNotFound, VersionNotFound
from shared.preprocessing.text import (
    TextContract,
    build_text_contract,
    encode_text,
    fit_vocabulary,
    list_vocabulary,
    pad_sequence,
)
from shared.registry import versions
from shared.registry.manifest import MANIFEST_FILE, ManifestFile
from shared.spec.text import MAX_LENGTH, MAX_VOCABULARY, TextPreprocessing, Tokenization

MAX_TEXTS = 1000
MAX_INDICES = 1_000_000
MAX_WORDS, MAX_UNKNOWN, MAX_WORD = 100, 20, 40

bp = APIBlueprint("text", __name__, url_prefix="/api/v1/text", abp_tags=[Tag(name="Data sets")])

Texts = Annotated[list[str], Field(min_length=1, max_length=MAX_TEXTS)]


class SequencesRequest(Tokenization):
    """A request for the sequences of texts, with the keys of `preprocessing.text`."""

    fit: Annotated[
        Texts | None,
        Field(description="Texts whose words are the vocabulary.", examples=[["The earth is an awesome place live"]]),
    ] = None
    version: Annotated[
        str | None,
        Field(
            description="A version instead, whose vocabulary and settings are used: `model@number`, `model@alias` or "
            "`model`.",
            pattern=r"^[a-z0-9][a-z0-9._-]{0,99}(@[a-z0-9._-]{1,100})?$",
        ),
    ] = None
    texts: Annotated[
        Texts | None,
        Field(
            description="The texts to convert. Default: those of `fit`.",
            examples=[["The earth is an great place live"]],
        ),
    ] = None
    length: Annotated[
        int | None,
        Field(
            strict=True,
            ge=1,
            le=MAX_LENGTH,
            description="Number of indices in a padded sequence. Default: that of the version, else the longest.",
        ),
    ] = None

    @model_validator(mode="after")
    def _check_source(self) -> Self:
        if (self.fit is None) == (self.version is None):
            raise ValueError("Give either `fit`, texts whose words are the vocabulary, or `version`.")
        if self.version is not None and self.texts is None:
            raise ValueError("`texts` is required with `version`.")
        given = sorted(self.model_fields_set - {"fit", "version", "texts", "length"})
        if self.version is not None and given:
            raise ValueError(f"`{given[0]}` is that of the version. Remove the key.")
        return self


class TextWord(Document):
    """A word of a text, or a character, as the tokenizer separates them."""

    word: str = Field(description="At most 40 characters of it.")
    index: int | None = Field(description="Its index in the vocabulary; null for an unknown word.")


class TextSequence(Document):
    """The indices of the words of a text."""

    sequence: list[int] = Field(description="The indices of its words.")
    padded: list[int] = Field(description="The sequence as the network gets it: cut off, or filled with 0.")
    words: list[TextWord] = Field(description="The first 100 words, in their order.")
    unknown: list[str] = Field(description="Words that are not in the vocabulary, at most 20.")


class SequencesDocument(Document):
    """The vocabulary, and the sequences of texts."""

    vocabulary: dict[str, int] = Field(
        description="The index of each word, the most frequent first. `<unknown>` stands for all unknown words. Of a "
        "version, only the words that occur in the texts."
    )
    sequences: list[list[int]]
    padded: list[list[int]]
    texts: list[TextSequence] = Field(description="The same for each text, with its unknown words.")


@bp.post(
    "/sequences",
    responses={200: SequencesDocument, **describe_problems(ModelNotFound, VersionNotFound, ArtifactDamaged)},
)
@needs(Scope.READ)
@parse_request
def show_sequences(body: SequencesRequest) -> Response:
    """Convert texts to sequences of word indices, as a training and a version do.

    The semantics are those of Keras's `Tokenizer` and `pad_sequences`.
    Nothing is stored.
    """
    if body.version is not None:
        contract, texts, length = _load_contract(body.version), body.texts or [], body.length
        length = length or contract.length
    else:
        fitted = body.fit or []
        settings = body.model_dump(include=set(Tokenization.model_fields))
        contract = fit_vocabulary(build_text_contract(TextPreprocessing(**settings)), fitted)
        texts, length = body.texts or fitted, body.length
    sequences = [encode_text(contract, text) for text in texts]
    longest = length or max(1, *map(len, sequences))
    if len(texts) * longest > MAX_INDICES:
        detail = f"The padded sequences would have more than {MAX_INDICES:,} indices. Send a smaller `length`."
        raise InvalidRequest("The request is invalid.", (Fault("#/length", detail),))
    padded = [pad_sequence(contract, sequence, longest) for sequence in sequences]
    found = [
        TextSequence(
            sequence=sequence, padded=row, words=_list_words(contract, text), unknown=_list_unknown(contract, text)
        )
        for text, sequence, row in zip(texts, sequences, padded, strict=True)
    ]
    vocabulary = list_vocabulary(contract, MAX_VOCABULARY)
    if body.version is not None:
        occurring = {index for sequence in sequences for index in sequence}
        vocabulary = {word: index for word, index in vocabulary.items() if index in occurring}
    return to_response(SequencesDocument(vocabulary=vocabulary, sequences=sequences, padded=padded, texts=found))


def _load_contract(reference: str) -> TextContract:
    """Load the contract of a version. Raises ModelNotFound, VersionNotFound, or InvalidRequest for other data."""
    model, separator, number = reference.partition("@")
    with services().sessions() as session:
        if separator:
            version = versions.get_version(session, model, number)
        else:
            version = versions.get_served_version(session, model)
        digest = versions.get_file(version, MANIFEST_FILE).sha256
    contract = ManifestFile.model_validate_json(services().artifacts.read(digest)).preprocessing
    if not isinstance(contract, TextContract):
        fault = Fault("#/version", f"{reference} takes {contract.kind}, not texts. Name a version of texts.")
        raise InvalidRequest("The request is invalid.", (fault,))
    return contract


def _list_words(contract: TextContract, text: str) -> list[TextWord]:
    """Return the first words of a text with their indices."""
    words = islice(contract.iterate_tokens(text), MAX_WORDS)
    return [TextWord(word=word[:MAX_WORD], index=contract.indices.get(word)) for word in words]


def _list_unknown(contract: TextContract, text: str) -> list[str]:
    """Return the first words of a text that are not in the vocabulary, each once and at most 40 characters of it."""
    unknown = dict.fromkeys(word for word in contract.iterate_tokens(text) if word not in contract.indices)
    return [word[:MAX_WORD] for word in list(unknown)[:MAX_UNKNOWN]]
