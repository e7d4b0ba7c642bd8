"""Receive uploaded files."""

from typing import IO, Any

from flask import request

from api.http.bodies import check_values
from shared.errors import MalformedRequest, RequestTooLarge

MAX_FORM_PARTS = 20


def allow_upload(limit: int) -> None:
    """Allow a body of up to `limit` bytes for this request. Raises RequestTooLarge if it is larger."""
    request.max_content_length = limit
    request.max_form_parts = MAX_FORM_PARTS  # each can be a file on the disk
    if (request.content_length or 0) > limit:
        raise RequestTooLarge(f"The upload is larger than {limit:,} bytes, the limit (TRAINYARD_MAX_DATASET_BYTES).")


def read_form(*repeated: str) -> dict[str, Any]:
    """Return the fields of the form; those named `repeated` as lists.

    Raises InvalidRequest for a string that a database cannot store.
    """
    fields = {name: value for name, value in request.form.items() if name not in repeated}
    form = {**fields, **{name: request.form.getlist(name) for name in repeated}}
    check_values(form, "#", 0)
    return form


def get_uploaded_file() -> IO[bytes]:
    """Return the content of the file `file` in the form. Raises MalformedRequest if there is none."""
    file = request.files.get("file")
    if file is None:
        raise MalformedRequest("The form contains no file named `file`. Send it as a file, with a file name.")
    return file.stream
