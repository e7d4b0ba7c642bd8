"""Receive an uploaded file."""

from typing import IO

from flask import request

from shared.errors import (
    MalformedRequest,
    RequestTooLarge,
)


def allow_upload(limit: int) -> None:
    """Allow this request a body of `limit` bytes. Raises RequestTooLarge."""
    request.max_content_length = limit
    if (request.content_length or 0) > limit:
        raise RequestTooLarge(f"The upload is larger than the {limit:,} bytes that are read here.")


def get_uploaded_file() -> IO[bytes]:
    """Raises MalformedRequest."""
    file = request.files.get("file")
    if file is None:
        raise MalformedRequest("There is no `file` in the form: send it as a file, with a file name.")
    return file.stream
