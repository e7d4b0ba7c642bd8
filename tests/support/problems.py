"""Assert that an answer is a problem document."""

from werkzeug.test import TestResponse

from tests.support.examples import Json


def assert_problem(answer: TestResponse, status: int, kind: str) -> Json:
    """Compare status and problem type; a failure shows the whole answer. Returns the problem document."""
    assert (answer.status_code, (answer.json or {}).get("type")) == (status, f"/problems/{kind}"), answer.text
    return dict(answer.json or {})
