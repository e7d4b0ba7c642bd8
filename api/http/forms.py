"""Parse multipart forms, also those whose file names are not UTF-8, and report what is wrong with them."""

from typing import IO, Any

from werkzeug.datastructures import FileStorage, Headers
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.formparser import FormDataParser, MultiPartParser
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder, NeedData

from api.ingestion.text_encoding import guess_encoding
from shared.errors import MalformedRequest


class FormParser(FormDataParser):
    """A parser of forms that reports a malformed form. Werkzeug's returns an empty form instead."""

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - those of the base class
        super().__init__(*arguments, **{**options, "silent": False})

    def parse(self, stream: IO[bytes], mimetype: str, content_length: int | None, options: Any = None) -> Any:  # noqa: ANN401
        """Parse a form. Raises MalformedRequest."""
        try:
            return super().parse(stream, mimetype, content_length, options)
        except ValueError as error:
            raise MalformedRequest(
                f"The form cannot be read: {str(error)[:200]}. Send multipart/form-data with its boundary in the "
                "Content-Type, as `curl -F` does."
            ) from None

    def _parse_multipart(
        self,
        stream: IO[bytes],
        mimetype: str,  # noqa: ARG002 - as the base class
        content_length: int | None,
        options: dict[str, str],
    ) -> Any:  # noqa: ANN401 - as the base class
        boundary = options.get("boundary", "").encode("ascii")
        if not boundary:
            raise ValueError("the Content-Type has no boundary")
        parser = _PartParser(self.stream_factory, self.max_form_memory_size, self.cls)
        decoder = _PartDecoder(boundary, self.max_form_memory_size, max_parts=self.max_form_parts)
        return stream, *parser.parse_parts(stream, decoder, content_length)


class _PartDecoder(MultipartDecoder):
    """A decoder whose headers may be in another encoding than UTF-8: curl sends the name of a file as it is."""

    def _parse_headers(self, data: bytes | bytearray) -> Headers:
        try:
            return super()._parse_headers(data)
        except UnicodeDecodeError:
            encoding = guess_encoding(bytes(data)) or "latin-1"
            return super()._parse_headers(bytes(data).decode(encoding).encode())


class _PartParser(MultiPartParser):
    """Collects the fields and files of a form, with a decoder that it is given."""

    def parse_parts(self, stream: IO[bytes], decoder: MultipartDecoder, content_length: int | None) -> Any:  # noqa: ANN401
        """Return the fields and the files.

        Raises ValueError, or RequestEntityTooLarge for fields that are too large together.
        """
        fields: list[tuple[str, str]] = []
        files: list[tuple[str, FileStorage]] = []
        part: Field | File | None = None
        content: Any = None
        size = 0
        while True:
            received = stream.read(self.buffer_size)
            decoder.receive_data(received or None)
            while not isinstance(event := decoder.next_event(), Epilogue | NeedData):
                if isinstance(event, Field | File):
                    part = event
                    content = (
                        bytearray() if isinstance(event, Field) else self.start_file_streaming(event, content_length)
                    )
                elif isinstance(event, Data) and isinstance(part, File):
                    content.write(event.data)
                    if not event.more_data:
                        content.seek(0)
                        files.append((part.name, FileStorage(content, part.filename, part.name, headers=part.headers)))
                elif isinstance(event, Data) and part is not None:
                    content += event.data
                    size += len(event.data)
                    if self.max_form_memory_size is not None and size > self.max_form_memory_size:
                        raise RequestEntityTooLarge
                    if not event.more_data:
                        charset = self.get_part_charset(part.headers)
                        fields.append((part.name, bytes(content).decode(charset, "replace")))
            if not received:
                return self.cls(fields), self.cls(files)
