"""Read the members of a zip: their names in whatever encoding, and their faults.

No member is extracted under its own path, so that a path from a zip cannot select a file on the server.
"""

import contextlib
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Sequence
from typing import NamedTuple

from api.ingestion.result import UploadLimits, dataset_error
from api.ingestion.text_encoding import ENCODINGS, check_encoding, guess_encoding, to_text

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif")
JUNK_FOLDERS = frozenset({"__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information"})
JUNK_FILES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"})
UTF8_NAME = 0x800
"""Bit 11 of the general purpose flags of a member (APPNOTE.TXT 4.4.4): the name is UTF-8."""
UNICODE_PATH = 0x7075
"""The extra field with the name in UTF-8 (APPNOTE.TXT 4.6.9): version 1, CRC-32 of the other name, and the name."""
ENCRYPTED = 0x1
"""Bit 0 of the general purpose flags: the member is encrypted."""
UNIX_MODE_SHIFT = 16
"""The upper 16 bits of the external attributes are the Unix file mode."""
_FIELD = struct.Struct("<HH")
_UNICODE_PATH_HEAD = struct.Struct("<BI")


class Member(NamedTuple):
    """A member of a zip, the parts of its normalised path, and whether it is a folder."""

    info: zipfile.ZipInfo
    path: tuple[str, ...]
    is_folder: bool


class ZipMembers(NamedTuple):
    """The members of a zip, and warnings for the sender."""

    members: list[Member]
    warnings: list[str]


def read_members(archive: zipfile.ZipFile, limits: UploadLimits, encoding: str | None = None) -> ZipMembers:
    """Return the members with their normalised paths.

    `encoding` is that of names that are not declared as UTF-8; None to tell it by the names.
    Raises DatasetRefused for a zip over the limits, for members that are unsafe, encrypted or duplicates, and for names
    whose encoding cannot be told.
    """
    infos = archive.infolist()
    if len(infos) > limits.files:
        raise dataset_error(
            f"The zip contains {len(infos):,} members; the limit is {limits.files:,} "
            "(TRAINYARD_MAX_DATASET_FILES). Send fewer files."
        )
    unpacked = sum(info.file_size for info in infos)
    if unpacked > limits.bytes:
        raise dataset_error(
            f"The members unpack to {unpacked:,} bytes; the limit is {limits.bytes:,} "
            "(TRAINYARD_MAX_DATASET_BYTES). Send fewer or smaller files."
        )
    names, warnings = _decode_names(infos, check_encoding(encoding))
    members = [
        Member(info, path, name.endswith(("/", "\\")))
        for info, name in zip(infos, names, strict=True)
        if (path := _parse_path(name))  # the path of `./` is empty
    ]
    faults = [
        f"{'/'.join(member.path)[:200]!r}: {fault}" for member in members if (fault := _find_fault(member)) is not None
    ]
    seen: dict[tuple[str, ...], int] = {}
    for member in members:
        seen[member.path] = seen.get(member.path, 0) + 1
    faults += [
        f"{'/'.join(path)!r} occurs {times} times in the zip. Give each file a different path."
        for path, times in seen.items()
        if times > 1
    ]
    if faults:
        raise dataset_error(*faults)
    return ZipMembers(members, warnings)


def is_junk(path: tuple[str, ...]) -> bool:
    """Return whether a file is hidden, or is one that operating systems add, such as `Thumbs.db`."""
    return (
        bool(JUNK_FOLDERS & set(path)) or path[-1].lower() in JUNK_FILES or any(part.startswith(".") for part in path)
    )


def is_image_name(name: str) -> bool:
    return name.lower().endswith(IMAGE_ENDINGS)


def _decode_names(infos: Sequence[zipfile.ZipInfo], encoding: str | None) -> tuple[list[str], list[str]]:
    """Return the names of the members, and warnings. Raises DatasetRefused.

    A name is UTF-8 if its flag or its Unicode path says so, or if all names are: macOS does not set the flag.
    """
    names: list[str | bytes] = [_find_name(info) for info in infos]
    undeclared = [name for name in names if isinstance(name, bytes)]
    found, warnings = encoding or "utf-8", []
    if encoding is None and not all(map(_is_utf8, undeclared)):
        guessed = guess_encoding(b"\n".join(name for name in undeclared if not name.isascii()), is_names=True)
        if guessed is None:
            raise dataset_error(
                "The names in the zip are neither ASCII nor UTF-8, and their encoding cannot be told. Create the zip "
                f"again with names in UTF-8, or send the field `encoding`: {ENCODINGS}."
            )
        found = guessed
        warnings = [f"The names in the zip were read as {found}, which was guessed. If it is wrong, send `encoding`."]
    try:
        return [name if isinstance(name, str) else name.decode(found) for name in names], warnings
    except UnicodeDecodeError as error:
        raise dataset_error(
            f"The names in the zip are not {found}: {error.reason}. Send another `encoding`: {ENCODINGS}."
        ) from None


def _find_name(info: zipfile.ZipInfo) -> str | bytes:
    """Return the name of a member, or its bytes if their encoding is not declared."""
    if info.flag_bits & UTF8_NAME:
        return info.filename
    raw = info.orig_filename.encode("cp437")  # as zipfile has decoded it
    return _find_unicode_path(info.extra, raw) or raw


def _find_unicode_path(extra: bytes, raw: bytes) -> str | None:
    """Return the name of the extra field UNICODE_PATH; None without it, or if it belongs to another name."""
    while len(extra) >= _FIELD.size:
        kind, size = _FIELD.unpack_from(extra)
        content, extra = extra[_FIELD.size : _FIELD.size + size], extra[_FIELD.size + size :]
        if kind == UNICODE_PATH and len(content) > _UNICODE_PATH_HEAD.size:
            version, checksum = _UNICODE_PATH_HEAD.unpack_from(content)
            if version == 1 and checksum == zlib.crc32(raw):
                with contextlib.suppress(UnicodeDecodeError):
                    return content[_UNICODE_PATH_HEAD.size :].decode()
    return None


def _is_utf8(name: bytes) -> bool:
    with contextlib.suppress(UnicodeDecodeError):
        name.decode()
        return True
    return False


def _parse_path(name: str) -> tuple[str, ...]:
    """Return the parts of a path, in Unicode normalisation form C. Some Windows programs write backslashes.

    The first part of an absolute path is empty.
    """
    name = to_text(name.replace("\\", "/"))
    if name.startswith("/"):
        return ("", *name.strip("/").split("/"))
    return tuple(part for part in name.rstrip("/").split("/") if part != ".")


def _find_fault(member: Member) -> str | None:
    """Return why a member is refused, or None if it is not."""
    info, path, _ = member
    mode = info.external_attr >> UNIX_MODE_SHIFT
    if ".." in path or "" in path or re.match(r"[A-Za-z]:", path[0]):
        return "the path leads out of the folder. Use a relative path without `..`, `//` and drive letters."
    if any(ord(character) < ord(" ") for part in path for character in part) and path[-1].lower() not in JUNK_FILES:
        return "the name contains control characters, such as a line break. Rename the file."
    if stat.S_ISLNK(mode):
        return "the member is a symbolic link. Put the file itself into the zip."
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "the member is neither a file nor a folder. Remove it from the zip."
    if info.flag_bits & ENCRYPTED:
        return "the member is encrypted. Create the zip without a password."
    return None
