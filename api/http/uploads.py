"""Receive uploaded files."""

from typing import IO

from flask import request

from shared.errors import (
    MalformedRequest,
    RequestTooLarge,
)


def allow_upload(limit: int) -> None:
    """Allow a body of up to `limit` bytes for this request. Raises RequestTooLarge if it is larger."""
    request.max_content_length = limit
    if (request.content_length or 0) > limit:
        raise RequestTooLarge(f"The upload is larger than {limit:,} bytes, the limit (TRAINYARD_MAX_DATASET_BYTES).")


def get_uploaded_file() -> IO[bytes]:
    """Return the content of the file `file` in the form. Raises MalformedRequest if there is none."""
    file = request.files.get("file")
    if file is None:
        raise MalformedRequest("The form contains no file named `file`. Send it as a file, with a file name.")
    return file.stream
