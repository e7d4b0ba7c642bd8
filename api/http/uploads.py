"""Receive uploaded files."""

import io
from tempfile import NamedTemporaryFile
from typing import IO, Any

from flask import Request, request

from api.http.bodies import check_values
from shared.errors import MalformedRequest, RequestTooLarge

MAX_BYTES_IN_MEMORY = 500_000


class UploadRequest(Request):
    """A request whose uploaded files are temporary files with a name, so that another process can read them."""

    def _get_file_stream(
        self,
        total_content_length: int | None,
        content_type: str | None,  # noqa: ARG002 - as in Werkzeug
        filename: str | None = None,  # noqa: ARG002
        content_length: int | None = None,  # noqa: ARG002
    ) -> IO[bytes]:
        """Open a file for an uploaded file. A small form stays in memory."""
        if total_content_length is not None and total_content_length <= MAX_BYTES_IN_MEMORY:
            return io.BytesIO()
        return NamedTemporaryFile(prefix="upload-")


def allow_upload(limit: int) -> None:
    """Allow a body of up to `limit` bytes for this request. Raises RequestTooLarge if it is larger."""
    request.max_content_length = limit
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
