"""Parse texts from CSV."""

import csv
import io
from collections.abc import Sequence

from api.ingestion.tables.csv_reader import open_table
from shared.datasets.texts import TEXT_COLUMN, describe_unknown_name, names_texts
from shared.errors import DatasetRefused, InvalidRequest, MalformedRequest


def parse_text_csv(body: bytes, columns: Sequence[str]) -> list[str]:
    """Parse CSV in UTF-8 with or without a line of names.

    `columns` is the name of the column with the texts, or empty. Without names, the rows have one cell.
    Raises MalformedRequest, or InvalidRequest for another number of cells.
    """
    try:
        rows = [cells for _, cells in open_table(io.BytesIO(body), "utf-8-sig").read_rows(keeps_empty=True)]
    except DatasetRefused as refused:
        raise MalformedRequest(f"Invalid input. {refused.faults[0].detail}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise MalformedRequest(f"Invalid input. The CSV cannot be read: {error}.") from None
    columns = columns or (TEXT_COLUMN,)
    has_names = bool(rows) and set(columns) <= set(rows[0])
    if rows and not has_names and len(rows[0]) == 1 and names_texts(rows[0], rows[1:]):
        raise InvalidRequest(describe_unknown_name(rows[0][0], columns[0]))
    index = rows[0].index(columns[0]) if has_names else 0
    for number, cells in enumerate(rows[has_names:], 1):
        if len(cells) <= index or (not has_names and len(cells) != 1):
            raise InvalidRequest(
                f"Row {number} of the CSV has {len(cells)} cells. Send one text in a row, or a line of names with "
                f"{columns[0]!r}."
            )
    return [cells[index] for cells in rows[has_names:]]
