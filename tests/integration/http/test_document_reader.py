"""Test that documents are read in a child process with limits, with the same results as in this process."""

import json
import sys
from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient

from api.http.bodies import parse_document
from api.http.reading.document_reader import MAX_BYTES_HERE, DocumentReader
from api.http.validation import validate
from shared.errors import InvalidRequest, MalformedRequest, RequestTooLarge, ServiceError
from shared.spec.training import TrainingSpec
from tests.support.examples import DIGITS, changed

PADDING = b" " * MAX_BYTES_HERE
DIE = """
import os
from shared.processes.child import serve_messages
serve_messages(lambda: lambda message: os._exit(3))
"""


@pytest.mark.parametrize("is_yaml", [False, True], ids=["JSON", "YAML"])
def test_a_document_is_the_same_from_the_process(reader: DocumentReader, *, is_yaml: bool) -> None:
    body = json.dumps(DIGITS).encode() + (b"" if is_yaml else PADDING)  # JSON is also YAML

    spec = reader.read(TrainingSpec, body, is_yaml=is_yaml)

    assert spec == TrainingSpec.model_validate(DIGITS)
    assert spec.preprocessing.model_fields_set == TrainingSpec.model_validate(DIGITS).preprocessing.model_fields_set


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"{" + PADDING, MalformedRequest),
        (json.dumps(changed(DIGITS, "training.epochs", -1)).encode() + PADDING, InvalidRequest),
        (b'{"model": "\\u0000"}' + PADDING, InvalidRequest),
    ],
    ids=["malformed", "invalid", "not storable"],
)
def test_a_refusal_is_the_same_from_the_process(reader: DocumentReader, body: bytes, error: type[ServiceError]) -> None:
    with pytest.raises(error) as here:
        validate(TrainingSpec, parse_document(body, is_yaml=False))
    with pytest.raises(error) as there:
        reader.read(TrainingSpec, body, is_yaml=False)

    assert (there.value.detail, there.value.faults) == (here.value.detail, here.value.faults)


def test_a_model_that_imports_much_leaves_memory_for_documents() -> None:
    """The process imports the module of a model when it is asked for: that is no part of a document."""
    from api.routes.jobs.jobs import JobEdit

    reader = DocumentReader()
    try:
        notes = json.dumps({"notes": "가" * 9000}).encode()
        assert reader.read(JobEdit, notes + PADDING, is_yaml=False).notes == "가" * 9000
        spec = "# a comment\n" * 30_000 + json.dumps(DIGITS)
        assert reader.read(TrainingSpec, spec.encode(), is_yaml=True).model == DIGITS["model"]
    finally:
        reader.close()


def test_a_document_that_takes_too_much_memory_is_refused(reader: DocumentReader) -> None:
    weights = ",".join(f'"k{index}":"x"' for index in range(140_000))
    body = json.dumps(changed(DIGITS, "training.class_weight", {})).replace("{}", f"{{{weights}}}").encode()

    with pytest.raises(InvalidRequest, match=r"takes more than 256 MiB to read|The request is invalid"):
        reader.read(TrainingSpec, body, is_yaml=False)
    assert reader.read(TrainingSpec, json.dumps(DIGITS).encode(), is_yaml=True).model == DIGITS["model"]


@pytest.mark.parametrize("body", [b"a: !!int ''", b"a: !!float ''", b"a: !!bool foo"])
def test_yaml_that_its_parser_does_not_expect_is_refused_by_the_same_process(
    reader: DocumentReader, body: bytes
) -> None:
    reader.read(TrainingSpec, json.dumps(DIGITS).encode(), is_yaml=True)
    (process,) = [process._process for process in reader._pool.processes]

    with pytest.raises(MalformedRequest, match="cannot be read"):
        reader.read(TrainingSpec, body, is_yaml=True)

    assert [process._process for process in reader._pool.processes] == [process]


def test_a_document_of_too_many_values_is_too_large(reader: DocumentReader) -> None:
    with pytest.raises(RequestTooLarge, match="more than 1,000,000 values"):
        reader.read(TrainingSpec, b"[" + b"1," * 1_000_000 + b"1]", is_yaml=False)


@pytest.fixture
def failing() -> Iterator[DocumentReader]:
    reader = DocumentReader(command=(sys.executable, "-c", DIE))
    yield reader
    reader.close()


def test_a_document_that_ends_the_process_is_refused(failing: DocumentReader) -> None:
    with pytest.raises(InvalidRequest, match="cannot be read: the process for reading a document ended"):
        failing.read(TrainingSpec, b"a: 1", is_yaml=True)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_json_with_too_many_values_is_refused(digits: FlaskClient) -> None:
    body = b'{"instances": [[' + b"0," * 1_000_000 + b"0]]}"

    answer = digits.post("/api/v1/jobs", data=body, content_type="application/json")

    assert answer.status_code == 413
    assert "more than 1,000,000 values" in answer.json["detail"]
