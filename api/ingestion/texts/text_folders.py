"""Convert a zip of class folders with text files to a data set."""

import zipfile
from collections.abc import Sequence
from pathlib import Path

from api.ingestion.archives.members import Member, is_image_name, is_junk
from api.ingestion.archives.parts import TEXTS, describe_files, sort_members
from api.ingestion.result import UNREADABLE, ParsedDataset, TableOptions, UploadLimits, dataset_error
from api.ingestion.text_encoding import ENCODINGS, check_encoding, guess_encoding
from api.ingestion.texts.text_writer import TextWriter
from shared.datasets.labels import encode_labels
from shared.datasets.row_files import join_lines
from shared.datasets.texts import find_text_fault

MAX_FILE_BYTES = 2**23
ENCODING_MARKS = ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


def has_text_files(members: Sequence[Member]) -> bool:
    """Return whether a zip has text files and no image."""
    names = [member.path[-1] for member in members if not (member.is_folder or is_junk(member.path))]
    return any(map(TEXTS.matches, names)) and not any(map(is_image_name, names))


def ingest_text_folders(
    archive: zipfile.ZipFile, members: Sequence[Member], options: TableOptions, limits: UploadLimits, folder: Path
) -> ParsedDataset:
    """Write texts.bin, the texts in UTF-8 with line breaks as `\\n`, and index.npz to the folder.

    index.npz contains `offsets` (n + 1,), the class indices `y` (n,) and the `names` of the files.
    Raises DatasetRefused with the members at fault.
    """
    sorted_files = sort_members([member for member in members if _is_kept(member)], TEXTS)
    faults = []
    with TextWriter(folder, limits) as writer:
        for file in sorted_files.files:
            text, fault = read_text_file(archive, file.info, check_encoding(options.encoding))
            if fault is None:
                writer.write(text)
            else:
                faults.append(f"{file.path}: {fault}.")
        if faults:
            raise dataset_error(*faults)
        classes, y = encode_labels([file.label for file in sorted_files.files])
        files = writer.finish(y=y, names=join_lines(file.name for file in sorted_files.files))
    ignored = [*sorted_files.ignored, *("/".join(member.path) for member in members if not _is_kept(member))]
    info = describe_files(sorted_files.files, TEXTS, (), classes, y)
    return ParsedDataset(info, files, ignored=tuple(ignored), warnings=tuple(sorted_files.warnings))


def _is_kept(member: Member) -> bool:
    """Return whether a member is a folder, or a text file: word lists and features lie beside those of some data."""
    return member.is_folder or TEXTS.matches(member.path[-1])


def read_text_file(archive: zipfile.ZipFile, info: zipfile.ZipInfo, encoding: str | None) -> tuple[str, str | None]:
    """Return the text of a member, and what is wrong with it; None if nothing is."""
    if info.file_size > MAX_FILE_BYTES:
        return "", f"a text of {info.file_size:,} bytes exceeds the limit of {MAX_FILE_BYTES:,} bytes; split it"
    try:
        with archive.open(info) as member:
            content = member.read(MAX_FILE_BYTES)
    except UNREADABLE as error:
        return "", f"the member cannot be unpacked ({error}); create the zip again"
    try:
        text = content.decode(encoding or _find_encoding(content))
    except UnicodeDecodeError as error:
        return "", f"it is not text in {encoding or 'UTF-8'} ({error.reason}); send the field `encoding`: {ENCODINGS}"
    fault = find_text_fault(text)
    return text.replace("\r\n", "\n").replace("\r", "\n"), None if fault is None else f"the text {fault}"


def _find_encoding(content: bytes) -> str:
    """Return the encoding of a text: by its mark, UTF-8 if it is, else a guess, or UTF-8 for an error."""
    for mark, name in ENCODING_MARKS:
        if content.startswith(mark):
            return name
    try:
        content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return guess_encoding(content) or "utf-8-sig" if b"\0" not in content else "utf-8-sig"
    return "utf-8-sig"
