from typing import Any

import pytest
from flask import Flask

from api.http.bodies import MAX_DEPTH, check_values, parse_document, parse_length, read_document_body, read_json
from api.http.validation import validate
from shared.errors import InvalidRequest, MalformedRequest, RequestTooLarge, ServiceError, UnsupportedContent
from shared.spec.training import TrainingSpec
from tests.support.examples import DIGITS, changed

app = Flask(__name__)
app.config["MAX_CONTENT_LENGTH"] = 1000


def read(content: bytes, content_type: str = "application/json") -> Any:
    with app.test_request_context(method="POST", data=content, content_type=content_type):
        body, is_yaml = read_document_body()
        return parse_document(body, is_yaml=is_yaml)


def test_yaml_is_read_to_the_same_value_as_json() -> None:
    as_json = read(b'{"a": [1, 0.001, "x", null, true], "b": {"c": "2026-fall"}}')

    assert read(b"a: [1, 1e-3, x, null, true]\nb: {c: 2026-fall}", "application/yaml") == as_json


@pytest.mark.parametrize(
    ("body", "content_type", "error", "said"),
    [
        (b"", "application/json", MalformedRequest, "not JSON"),
        (b"{", "application/json", MalformedRequest, "line 1 column 2"),
        (b"\xff", "application/json", MalformedRequest, "not UTF-8"),
        (b'{"a": 1, "a": 2}', "application/json", MalformedRequest, "'a' occurs twice"),
        (b'{"a": [1, NaN]}', "application/json", InvalidRequest, "#/a/1"),
        (b'{"a": -Infinity}', "application/json", InvalidRequest, "#/a"),
        (b'{"a": 1e999}', "application/json", InvalidRequest, "#/a"),
        (b'{"a": 99999999999999999999}', "application/json", InvalidRequest, "#/a"),
        (b'{"a": "\\u0000"}', "application/json", InvalidRequest, "#/a"),
        (b'{"a": "\\ud800"}', "application/json", InvalidRequest, "#/a"),
        (b'{"a/b": {"c~d": NaN}}', "application/json", InvalidRequest, "#/a~1b/c~0d"),
        (b"[" * (MAX_DEPTH + 2) + b"]" * (MAX_DEPTH + 2), "application/json", InvalidRequest, "deep"),
        (b"[" * 990, "application/json", MalformedRequest, ""),
        (b"a: [1, 2", "application/yaml", MalformedRequest, "line 1"),
        (b"a: &x 1\nb: *x", "application/yaml", MalformedRequest, "alias"),
        (b"a: 1\na: 2", "application/yaml", MalformedRequest, "duplicate"),
        (b"a: 2026-01-01", "application/yaml", InvalidRequest, "#/a"),
        (b"3: x", "application/yaml", InvalidRequest, "in quotes"),
        (b"a: !!python/object:os.system x", "application/yaml", MalformedRequest, "not YAML"),
        (b"[" * 900, "application/yaml", MalformedRequest, ""),
        (b"a=1", "application/x-www-form-urlencoded", UnsupportedContent, "application/json"),
        (b"{}", "", UnsupportedContent, "missing"),
        (b" " * 1000, "application/json", RequestTooLarge, "999 bytes"),
    ],
)
def test_an_invalid_body_is_refused_with_its_position(
    body: bytes, content_type: str, error: type[ServiceError], said: str
) -> None:
    with pytest.raises(error) as refused:
        read(body, content_type)

    faults = " ".join(f"{fault.pointer} {fault.detail}" for fault in refused.value.faults)
    assert said in f"{refused.value.detail} {faults}"


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({16**8000: 1}, "The key 'an integer of more than 4,300 digits' is not a string"),
        ({"a": {16**8000}}, "as a set"),
    ],
)
def test_integers_that_python_cannot_write_are_refused(document: object, said: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        check_values(document, "#", 0)

    assert said in refused.value.faults[0].detail


def test_one_duplicate_among_many_keys_is_found() -> None:
    keys = ",".join(f'"k{index}":1' for index in range(200_000))

    with pytest.raises(MalformedRequest, match="'k199999' occurs twice"):
        read_json(f'{{{keys},"k199999":1}}'.encode())


class EndlessBody:
    """A request body without an end, which a client can send in chunks."""

    def read(self, size: int) -> bytes:
        return b" " * size


def test_a_chunked_body_is_read_only_up_to_the_limit() -> None:
    environ = {"wsgi.input": EndlessBody(), "wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}

    with (
        app.test_request_context(method="POST", content_type="application/json", environ_overrides=environ),
        pytest.raises(RequestTooLarge),
    ):
        read_document_body()


def test_every_fault_is_named_with_its_pointer() -> None:
    spec = changed(changed(changed(DIGITS, "training.epochs", -1), "zork", 1), "preprocessing.size", [0, "x"])

    with pytest.raises(InvalidRequest) as refused:
        validate(TrainingSpec, spec)

    pointers = {fault.pointer for fault in refused.value.faults}
    assert pointers == {
        "#/training/epochs",
        "#/zork",
        "#/preprocessing/size/0",
        "#/preprocessing/size/1",
    }


def test_a_missing_key_is_named_with_its_pointer() -> None:
    spec = changed(DIGITS, "dataset.test", {})

    with pytest.raises(InvalidRequest) as refused:
        validate(TrainingSpec, spec)

    assert [fault.pointer for fault in refused.value.faults] == ["#/dataset/test/split"]


@pytest.mark.parametrize(
    ("text", "length"),
    [(None, None), ("", None), ("0", 0), ("12", 12), ("-1", None), ("1e3", None), ("\u0663", None), ("9" * 5000, None)],
)
def test_a_length_is_digits_of_at_most_18_places(text: str | None, length: int | None) -> None:
    assert parse_length(text) == length
