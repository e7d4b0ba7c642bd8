"""Receive uploaded files."""

from typing import IO, Any

from flask import Request, request
from werkzeug.exceptions import RequestEntityTooLarge

from api.http.bodies import check_values, escape_pointer
from api.http.forms import FormParser
from shared.errors import Fault, InvalidRequest, MalformedRequest, RequestTooLarge
from shared.storage.disk import DiskReserve

MAX_FORM_PARTS = 20
CHECK_BYTES = 2**24
"""After these bytes of an upload, the free space of the disk is checked again."""

ENCODING_FIELD = {
    "type": "string",
    "description": (
        "The encoding of a CSV, or of the names in a zip, such as `cp949`. Default: UTF-8 or UTF-16, or else it is "
        "guessed."
    ),
}
"""The schema of the field `encoding` of a form."""


class UploadRequest(Request):
    """A request that closes its uploaded files when it ends, also if the body was not read to its end.

    Otherwise such a file takes its space on the disk until the garbage collector finds it.
    """

    form_data_parser_class = FormParser

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - those of the base class
        super().__init__(*arguments, **options)
        self._streams: list[IO[bytes]] = []

    def _get_file_stream(self, *arguments: Any, **options: Any) -> IO[bytes]:  # noqa: ANN401
        """Open a file for a part of the form; werkzeug calls it."""
        stream = super()._get_file_stream(*arguments, **options)
        self._streams.append(stream)
        return stream

    def close(self) -> None:
        """Close the request and all its uploaded files."""
        super().close()
        for stream in self._streams:
            stream.close()


class _DiskCheckedBody:
    """The `wsgi.input` of an upload. It checks the reserve of the disk while the body arrives."""

    def __init__(self, body: Any, disk: DiskReserve) -> None:  # noqa: ANN401 - of any server
        self._body = body
        self._disk = disk
        self._unchecked_bytes = 0

    def read(self, size: int = -1) -> bytes:
        """Read from the body. Raises DiskFull, and what the body raises."""
        content: bytes = self._body.read(size)
        self._unchecked_bytes += len(content)
        if self._unchecked_bytes >= CHECK_BYTES:
            self._unchecked_bytes = 0
            self._disk.check()
        return content


def allow_upload(limit: int, disk: DiskReserve) -> None:
    """Allow a body of up to `limit` bytes for this request. Raises RequestTooLarge if it is larger, or DiskFull.

    Reading it raises DiskFull as soon as the disk has less free space than its reserve.
    """
    disk.check()
    request.environ["wsgi.input"] = _DiskCheckedBody(request.environ["wsgi.input"], disk)
    request.max_content_length = limit
    request.max_form_parts = MAX_FORM_PARTS  # each can be a file on the disk
    if (request.content_length or 0) > limit:
        raise RequestTooLarge(f"The upload is larger than {limit:,} bytes, the limit (TRAINYARD_MAX_DATASET_BYTES).")


def read_form(*repeated: str) -> dict[str, Any]:
    """Return the fields of the form; those named `repeated` as lists.

    Raises InvalidRequest for another field that occurs twice, and for a string that a database cannot store; or
    RequestTooLarge.
    """
    try:
        request.form  # noqa: B018 - it is read here
    except RequestEntityTooLarge:
        raise RequestTooLarge(
            f"The fields of the form have more than {request.max_form_memory_size:,} bytes, the limit. Shorten them."
        ) from None
    twice = sorted(name for name, values in request.form.lists() if len(values) > 1 and name not in repeated)
    if twice:
        faults = tuple(Fault(f"#/{escape_pointer(name)}", "The field occurs twice. Send it once.") for name in twice)
        raise InvalidRequest("The request is invalid.", faults)
    fields = {name: value for name, value in request.form.items() if name not in repeated}
    form = {**fields, **{name: request.form.getlist(name) for name in repeated}}
    check_values(form, "#", 0)
    return form


def get_uploaded_file() -> IO[bytes]:
    """Return the content of the file `file` in the form. Raises MalformedRequest if there is none, or another file."""
    files = list(request.files.items(multi=True))
    names = [name for name, _ in files]
    if "file" not in names:
        raise MalformedRequest("The form contains no file named `file`. Send it as a file, with a file name.")
    if len(files) > 1:
        shown = ", ".join(repr(name[:40]) for name in names[:5])
        raise MalformedRequest(f"The form contains {len(files)} files: {shown}. Send one file, named `file`.")
    return files[0][1].stream
