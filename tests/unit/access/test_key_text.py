"""Test the text of keys."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.access.key_text import compute_digest, find_key_id, make_key, make_token


def test_a_key_has_its_id_and_its_digest() -> None:
    key = make_key()

    assert key.text.startswith(f"ty_{key.id}_")
    assert len(key.text) == len("ty_") + 8 + 1 + 32 + 6
    assert find_key_id(key.text) == key.id
    assert key.digest == compute_digest(key.text)
    assert make_key(key.id).text != key.text


@given(st.data())
def test_a_typing_error_is_found(data: st.DataObject) -> None:
    text = make_key().text
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters(codec="utf-8").filter(lambda one: one != text[place]))

    assert find_key_id(text[:place] + other + text[place + 1 :]) is None


@pytest.mark.parametrize("text", ["", "ty_", "ty_" + "0" * 47, "Bearer"])
def test_other_texts_are_no_keys(text: str) -> None:
    assert find_key_id(text) is None


def test_neither_a_key_with_an_end_of_line_nor_a_token_is_a_key() -> None:
    assert find_key_id(make_key().text + "\n") is None
    assert find_key_id(make_token()) is None
