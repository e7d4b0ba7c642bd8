"""Tell the class of each image by a CSV of labels that lies in the zip."""

import io
import zipfile
from collections.abc import Sequence

from api.ingestion.archives.members import Member, is_image_name, is_junk
from api.ingestion.archives.parts import MIN_CLASSES, TRAIN, ClassFile, SortedFiles
from api.ingestion.result import LABEL_NAMES, MAX_FAULTS, UNREADABLE, TableOptions, dataset_error
from api.ingestion.tables.csv_reader import open_table
from shared.datasets.cells import is_header
from shared.datasets.labels import find_class_name_faults
from shared.errors import DatasetRefused, Fault

TABLE_ENDINGS = (".csv", ".tsv", ".txt")
MAX_TABLE_BYTES = 256 * 2**20
MIN_FOUND = 0.5
"""A column has the names of the images if this share of its sample cells are such names."""


def find_label_table(members: Sequence[Member]) -> Member | None:
    """Return the table of labels of a zip whose images lie in one folder; None if there is no such table."""
    kept = [member for member in members if not (member.is_folder or is_junk(member.path))]
    folders = {member.path[:-1] for member in kept if is_image_name(member.path[-1])}
    tables = [member for member in kept if member.path[-1].lower().endswith(TABLE_ENDINGS)]
    csv = [table for table in tables if not table.path[-1].lower().endswith(".txt")] or tables
    return csv[0] if len(csv) == 1 and len(folders) == 1 else None


def sort_by_table(
    archive: zipfile.ZipFile, members: Sequence[Member], table: Member, options: TableOptions
) -> SortedFiles:
    """Tell the class of each image by the rows of the table. All images are training images.

    Images without a row are left out. Raises DatasetRefused if the columns cannot be told, or a row has no image.
    """
    images = {
        member.path[-1]: member
        for member in members
        if not (member.is_folder or is_junk(member.path)) and is_image_name(member.path[-1])
    }
    by_stem = {name.rpartition(".")[0]: member for name, member in images.items()}
    name = "/".join(table.path)
    rows = _read_table(archive, table, options)
    if len(rows) < MIN_CLASSES:
        raise dataset_error(f"{name!r} has no rows. Add one for each image: its file name and its label.")
    header, rest = rows[0], rows[1:]
    has_names = is_header(header, rest[:100]) or not any(_find(cell, images, by_stem) for cell in header)
    if not has_names:
        header, rest = [f"column {index}" for index in range(len(header))], rows
    file_column = _find_file_column(rest, images, by_stem, name)
    label_column = _find_label_column(header, file_column, options, name)
    chosen: dict[str, ClassFile] = {}
    faults = []
    for number, cells in enumerate(rest, 1):
        found = _find(cells[file_column], images, by_stem) if len(cells) > file_column else None
        label = cells[label_column] if len(cells) > label_column else ""
        if found is None or not label:
            what = "its image is not in the zip" if found is None else "its label is empty"
            faults.append(f"{name!r}, row {number}: {what}. Correct or remove the row.")
        elif chosen.setdefault(found.path[-1], _make_image(found, label)).label != label:
            faults.append(f"{name!r}, row {number}: {found.path[-1]!r} has another label above. Remove one row.")
    classes = {image.label for image in chosen.values()}
    if len(classes) < MIN_CLASSES and not faults:
        faults.append(f"{name!r} has {len(classes)} class; at least two are needed.")
    faults += find_class_name_faults(sorted(classes))
    if faults:
        raise dataset_error(*faults)
    ordered = sorted(chosen.values(), key=lambda image: (image.label, image.name))
    without = sorted(set(images) - chosen.keys())
    ignored = ["/".join(images[other].path) for other in without]
    warnings = [f"The classes are those of the column {header[label_column]!r} of {name!r}."]
    if without:
        warnings.append(f"{len(without):,} images have no row in {name!r}. They were left out.")
    return SortedFiles(ordered, tuple(ignored), warnings)


def _make_image(member: Member, label: str) -> ClassFile:
    return ClassFile(TRAIN, label, "/".join(member.path), member.path[-1], member.info)


def _read_table(archive: zipfile.ZipFile, table: Member, options: TableOptions) -> list[list[str]]:
    """Return all rows of the table. Raises DatasetRefused."""
    name = "/".join(table.path)
    if table.info.file_size > MAX_TABLE_BYTES:
        raise dataset_error(f"{name!r} has more than {MAX_TABLE_BYTES:,} bytes, the limit. Remove columns.")
    try:
        with archive.open(table.info) as member:
            content = member.read(MAX_TABLE_BYTES)
    except UNREADABLE as error:
        raise dataset_error(f"{name!r} cannot be unpacked ({error}). Create the zip again.") from None
    return [cells for _, cells in open_table(io.BytesIO(content), options.encoding).read_rows()]


def _find(cell: str, images: dict[str, Member], by_stem: dict[str, Member]) -> Member | None:
    """Return the image that a cell names, by its path, its name or its name without the ending."""
    base = cell.replace("\\", "/").rpartition("/")[2]
    return images.get(base) or by_stem.get(base)


def _find_file_column(
    rows: Sequence[Sequence[str]], images: dict[str, Member], by_stem: dict[str, Member], name: str
) -> int:
    """Return the column with the names of the images. Raises DatasetRefused."""
    sample = rows[:100]
    shares = [
        sum(len(cells) > index and _find(cells[index], images, by_stem) is not None for cells in sample) / len(sample)
        for index in range(max(map(len, sample)))
    ]
    if max(shares) < MIN_FOUND:
        raise dataset_error(
            f"No column of {name!r} has the names of the images in the zip. Write one row for each image: its file "
            "name and its label; or put the images into class folders, without the table."
        )
    return shares.index(max(shares))


def _find_label_column(header: Sequence[str], file_column: int, options: TableOptions, name: str) -> int:
    """Return the column of the labels: `label` of the form, one that is called so, or the only other.

    Raises DatasetRefused.
    """
    others = [index for index in range(len(header)) if index != file_column]
    if options.label is not None:
        if options.label in header:
            return header.index(options.label)
        fault = Fault("#/label", f"{name!r} has no column {options.label!r}. Its columns are {', '.join(header[:50])}.")
        raise DatasetRefused("The column does not exist.", (fault,))
    called = [index for index in others if header[index].lower() in LABEL_NAMES]
    if len(called) == 1 or len(others) == 1:
        return (called or others)[0]
    shown = ", ".join(repr(header[index]) for index in others[:MAX_FAULTS])
    raise dataset_error(f"{name!r} has the columns {shown} beside the file names. Send the name of one as `label`.")
