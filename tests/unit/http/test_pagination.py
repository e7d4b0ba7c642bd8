import pytest

from api.http.pagination import make_next_cursor, parse_page
from shared.database.pagination import Page
from shared.errors import InvalidRequest


def test_a_cursor_leads_to_where_the_page_ended() -> None:
    cursor = make_next_cursor(Page(limit=2), [("a", 1), ("b", 2)])

    assert parse_page(2, cursor, (str, int)) == Page(2, ("b", 2))


def test_a_page_that_is_not_full_is_the_last() -> None:
    assert make_next_cursor(Page(limit=2), [("a", 1)]) is None


@pytest.mark.parametrize("cursor", ["", "x", "ä", "bnVsbA==", "WzFd", "WyJhIiwgdHJ1ZV0=", "W" * 400])
def test_a_cursor_that_was_not_given_out_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidRequest):
        parse_page(2, cursor, (str, int))
