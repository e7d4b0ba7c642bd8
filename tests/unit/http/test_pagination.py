import pytest

from api.http.pagination import make_next_cursor, parse_page
from shared.database.pagination import Page
from shared.errors import InvalidRequest


def test_the_cursor_names_the_last_row_of_the_page() -> None:
    cursor = make_next_cursor(Page(limit=2), [("a", 1), ("b", 2)])

    assert parse_page(2, cursor, (str, int)) == Page(2, ("b", 2))


def test_a_page_that_is_not_full_has_no_next_cursor() -> None:
    assert make_next_cursor(Page(limit=2), [("a", 1)]) is None


@pytest.mark.parametrize("cursor", ["", "x", "ä", "bnVsbA==", "WzFd", "WyJhIiwgdHJ1ZV0=", "W" * 400])
def test_an_invalid_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidRequest):
        parse_page(2, cursor, (str, int))
