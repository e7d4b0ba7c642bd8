"""Assert that an answer is a problem document."""

from werkzeug.test import TestResponse


def assert_problem(answer: TestResponse, status: int, kind: str) -> None:
    """Compare status and problem type; a failure shows the whole answer."""
    assert (answer.status_code, (answer.json or {}).get("type")) == (status, f"/problems/{kind}"), answer.text
