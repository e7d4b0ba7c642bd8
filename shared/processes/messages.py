"""Exchange messages with a child process over its standard input and output."""

import struct
from typing import IO, NamedTuple

_LENGTHS = struct.Struct(">QQ")


class Message(NamedTuple):
    """A message: `head` is one JSON document, and `payload` is bytes that need not be text."""

    head: bytes
    payload: bytes = b""


READY = Message(b"ready")
"""The first message of a child process, after its imports."""


def write_message(stream: IO[bytes], message: Message) -> None:
    """Write a message. Raises OSError if the other process has ended."""
    stream.write(_LENGTHS.pack(len(message.head), len(message.payload)) + message.head)
    stream.write(message.payload)
    stream.flush()


def read_message(stream: IO[bytes]) -> Message | None:
    """Read a message. Returns None at the end of the stream, also in the middle of a message."""
    lengths = stream.read(_LENGTHS.size)
    if len(lengths) < _LENGTHS.size:
        return None
    head_bytes, payload_bytes = _LENGTHS.unpack(lengths)
    head, payload = stream.read(head_bytes), stream.read(payload_bytes)
    return Message(head, payload) if len(head) == head_bytes and len(payload) == payload_bytes else None
