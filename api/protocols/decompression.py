"""Decompress bodies of the protocols whose servers do so: TensorFlow Serving, and Triton."""

import zlib
from collections.abc import Iterator
from itertools import chain

from api.http.wsgi.slow_clients import PIECE_BYTES, SlowClients
from shared.errors import MalformedRequest, RequestTooLarge


def decompress(body: bytes, encoding: str, max_bytes: int, clients: SlowClients) -> bytes:
    """Decompress a body to at most `max_bytes`, because a few bytes of gzip can decompress to a gigabyte.

    Raises RequestTooLarge, MalformedRequest, or Overloaded if large bodies of other requests take the memory.
    """
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "deflate"):
        raise MalformedRequest(f"The Content-Encoding {encoding[:20]!r} is not supported. Use gzip or deflate.")
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16 if encoding == "gzip" else zlib.MAX_WBITS)
    try:
        pieces = _decompress_pieces(unpacker, body, max_bytes)
        unpacked = next(pieces, b"")
        if len(unpacked) == PIECE_BYTES:
            unpacked = clients.collect(chain([unpacked], pieces))
    except zlib.error as error:
        raise MalformedRequest(f"The body is not valid {encoding}: {error}.") from None
    if len(unpacked) == max_bytes and not unpacker.eof:
        raise RequestTooLarge(
            f"The decompressed body is larger than {max_bytes:,} bytes, the limit (TRAINYARD_MAX_REQUEST_BYTES)."
        )
    if not unpacker.eof:
        raise MalformedRequest(f"The {encoding} body is incomplete.")
    return unpacked


def _decompress_pieces(unpacker: "zlib._Decompress", body: bytes, max_bytes: int) -> Iterator[bytes]:
    """Yield at most `max_bytes` in pieces of PIECE_BYTES. Raises zlib.error."""
    left = max_bytes
    while left and not unpacker.eof:
        piece = unpacker.decompress(body, min(left, PIECE_BYTES))
        body = unpacker.unconsumed_tail
        if not piece and not body:
            return
        yield piece
        left -= len(piece)
