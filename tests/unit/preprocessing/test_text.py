"""Test the conversion of texts to sequences against Keras."""

import keras
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras.src.legacy.preprocessing.text import Tokenizer as KerasTokenizer

from shared.errors import DatasetDoesNotFit
from shared.preprocessing import text as module
from shared.preprocessing.text import (
    MAX_WORD_CHARACTERS,
    TextContract,
    build_text_contract,
    encode_padded,
    encode_text,
    fit_vocabulary,
    list_vocabulary,
    pad_sequence,
)
from shared.spec.text import Edge, TextPreprocessing, Tokenizer, Unknown

NOTE = "The earth is an awesome place live"
WORDS = st.text("aAbBΣσ,.!🙂가나 \t\n\0\u3000İ", max_size=30)
OPTIONS = st.fixed_dictionaries(
    {
        "tokenizer": st.sampled_from(Tokenizer),
        "vocabulary": st.integers(3, 12),
        "length": st.integers(1, 8),
        "pad": st.sampled_from(Edge),
        "truncate": st.sampled_from(Edge),
        "lower": st.booleans(),
        "unknown": st.sampled_from(Unknown),
    }
)


def fit(texts: list[str], **options: object) -> TextContract:
    return fit_vocabulary(build_text_contract(TextPreprocessing.model_validate(options)), texts)


def test_the_example_of_the_course_has_its_indices() -> None:
    contract = fit([NOTE])

    assert list_vocabulary(contract, 10) == {
        "the": 1,
        "earth": 2,
        "is": 3,
        "an": 4,
        "awesome": 5,
        "place": 6,
        "live": 7,
    }
    assert encode_text(contract, "The earth is an great place live") == [1, 2, 3, 4, 6, 7]


@pytest.mark.parametrize(
    ("pad", "padded"),
    [("pre", [[1, 2, 3], [4, 5, 6], [0, 7, 8]]), ("post", [[1, 2, 3], [4, 5, 6], [7, 8, 0]])],
)
def test_sequences_are_padded_and_cut_off_as_in_the_course(pad: str, padded: list[list[int]]) -> None:
    contract = fit([NOTE], length=3, pad=pad)

    assert [pad_sequence(contract, one, 3) for one in ([1, 2, 3], [3, 4, 5, 6], [7, 8])] == padded


@settings(max_examples=400, deadline=None)
@given(fitted=st.lists(WORDS, min_size=1, max_size=6), text=WORDS, options=OPTIONS)
def test_every_text_has_the_sequence_of_keras(fitted: list[str], text: str, options: dict[str, object]) -> None:
    wanted = TextPreprocessing.model_validate(options)
    reference = KerasTokenizer(
        num_words=wanted.vocabulary,
        lower=wanted.lower,
        char_level=wanted.tokenizer is Tokenizer.CHARACTERS,
        oov_token="<unknown>" if wanted.unknown is Unknown.TOKEN else None,
    )
    reference.fit_on_texts(fitted)
    sequences = reference.texts_to_sequences([text])

    contract = fit(fitted, **options)

    assert encode_text(contract, text) == sequences[0]
    padded = keras.utils.pad_sequences(
        sequences, wanted.length, padding=wanted.pad.value, truncating=wanted.truncate.value
    )
    assert encode_padded(contract, text).tolist() == padded[0].tolist()


@settings(max_examples=200, deadline=None)
@given(text=st.text("abΣ .가", max_size=60), options=OPTIONS)
def test_a_long_text_has_the_same_sequence_in_pieces(text: str, options: dict[str, object]) -> None:
    contract = fit(["a b Σ ς σ ab ba 가"], **options)
    whole = encode_padded(contract, text)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PIECE_CHARACTERS", 5)
        assert encode_padded(contract, text).tolist() == whole.tolist()


def test_a_word_of_a_megabyte_is_unknown_and_not_in_the_vocabulary() -> None:
    word = "x" * 2**20

    contract = fit([f"good {word} good", word, "a" * MAX_WORD_CHARACTERS])

    assert contract.vocabulary == ("good", "a" * MAX_WORD_CHARACTERS)
    assert encode_text(contract, f"{word} good") == [1]


def test_too_many_different_words_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_DISTINCT_WORDS", 3)

    with pytest.raises(DatasetDoesNotFit, match="more than 3 different words"):
        fit(["a b", "c d"])
