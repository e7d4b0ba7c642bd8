import base64
from datetime import UTC, datetime
from uuid import UUID

import pytest

from api.http.pagination import NUMBER_KEY, TEXT_KEY, TIME_KEY, KeyAdapter, make_next_cursor, parse_page
from shared.database.pagination import Key, Page
from shared.errors import InvalidRequest


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        (("b",), TEXT_KEY),
        ((2**31 - 1,), NUMBER_KEY),
        ((datetime(2026, 11, 28, 1, 2, 3, 456789, tzinfo=UTC), UUID(int=7)), TIME_KEY),
    ],
)
def test_the_cursor_names_the_last_row_of_the_page(key: Key, kind: KeyAdapter) -> None:
    cursor = make_next_cursor(Page(limit=1), [key])

    assert parse_page(1, cursor, kind) == Page(1, key)


def test_a_page_that_is_not_full_has_no_next_cursor() -> None:
    assert make_next_cursor(Page(limit=2), [("a", 1)]) is None


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ("", TEXT_KEY),
        ("null", TEXT_KEY),
        ("[1]", TEXT_KEY),
        ('["\\u0000"]', TEXT_KEY),
        ('["\\ud800"]', TEXT_KEY),
        ("[" * 200, TEXT_KEY),
        ('["a", true]', TEXT_KEY),
        ("[-1]", NUMBER_KEY),
        ("[1.5]", NUMBER_KEY),
        ("[99999999999]", NUMBER_KEY),
        (f"[{'9' * 300}]", NUMBER_KEY),
        ('["x", "y"]', TIME_KEY),
        ('["2020-01-01", "y"]', TIME_KEY),
        ('["2020-01-01T00:00:00", "00000000-0000-0000-0000-000000000007"]', TIME_KEY),
    ],
)
def test_a_forged_cursor_is_refused(content: str, kind: KeyAdapter) -> None:
    with pytest.raises(InvalidRequest, match="Pass `next` unchanged"):
        parse_page(2, base64.urlsafe_b64encode(content.encode()).decode(), kind)


@pytest.mark.parametrize("cursor", ["", "x", "ä", "W" * 400])
def test_a_cursor_that_is_not_base64_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidRequest):
        parse_page(2, cursor, TEXT_KEY)
