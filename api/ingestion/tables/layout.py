"""Tell what each column of a table is: an input, a text, the label, the weight, or nothing."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from api.ingestion.result import LABEL_NAMES, MAX_FAULTS, ONE_HOT, ColumnOptions, TableOptions, dataset_error
from api.ingestion.tables.csv_reader import Line
from shared.datasets.cells import is_header, is_number
from shared.datasets.columns import find_positions
from shared.datasets.texts import has_texts, names_texts
from shared.errors import DatasetRefused, Fault, list_names

MIN_COLUMNS = 2
MAX_SHOWN_COLUMNS = 50
"""The most names of columns in a message."""
MIN_COUNTED_ROWS, MIN_NAMELESS_ROWS = 5, 2
"""A column counts the rows if all numbers rise by 1, from so many rows on: with a name, and without one."""
ROW_NAMES = frozenset({"", "unnamed: 0"})
"""Names of a column of row numbers, in lower case, as R and pandas write them."""
MIN_CLASS_CELLS = 4
"""A column of fewer cells does not show whether it has classes."""


@dataclass(frozen=True)
class TableLayout:
    """Roles of the columns.

    Attributes:
        names: name of each column, from the header or `column 0`, `column 1`, …
        features: indices of the input columns.
        label: index of the label column.
        weight: index of the column with the weight of each row; None without one.
        text: index of the column whose texts are the only input; None for a table of numbers.
        has_header: whether the first row contains the names.
        options: the options of columns, by index.
        warnings: what the sender may not have meant.
    """

    names: tuple[str, ...]
    features: tuple[int, ...]
    label: int
    weight: int | None
    text: int | None
    has_header: bool
    options: Mapping[int, ColumnOptions]
    warnings: list[str]

    @property
    def other_label(self) -> str | None:
        """Return the name of another column that is probably the label; None without one."""
        if self.names[self.label].lower() in LABEL_NAMES:
            return None
        return next((self.names[index] for index in self.features if self.names[index].lower() in LABEL_NAMES), None)

    def list_label_warnings(self, options: TableOptions) -> list[str]:
        """Return a warning if another column is probably the label."""
        other = self.other_label
        if options.label is not None or other is None:
            return []
        warning = (
            f"The labels are the last column, {self.names[self.label]!r}. A column is called {other!r}: if it has the "
            f"labels, send `label={other}`."
        )
        return [warning]


def detect_layout(sample: Sequence[Line], options: TableOptions) -> TableLayout:
    """Determine the names and the roles of the columns. Raises DatasetRefused."""
    rest = [cells for _, cells in sample[1:]]
    names, has_names, warnings = _choose_names(sample[0][1], rest, options)
    positions = find_positions(names) if has_names else {}
    out = {_find_column(text, names, positions, "leave_out") for text in options.leave_out}
    chosen = {_find_column(name, names, positions, "columns"): column for name, column in options.columns.items()}
    if len(chosen) < len(options.columns):
        fault = Fault("#/columns", "Two keys name one column, by name and by position. Remove one of them.")
        raise DatasetRefused("The options do not fit the columns.", (fault,))
    unnamed = _find_unnamed(names, rest) - chosen.keys() if has_names else set()
    weight = None if options.weight is None else _find_column(options.weight, names, positions, "weight")
    if weight is not None:
        out.add(weight)
    text = None if options.text is None else _find_column(options.text, names, positions, "text")
    label = max(set(range(len(names))) - unnamed - {weight, text}, default=0)
    if options.label is not None:
        label = _find_column(options.label, names, positions, "label")
    elif text is None and not chosen:
        label = _swap_text_label(label, set(range(len(names))) - unnamed - out, rest)
    _check_roles(names, label, weight, text, out)
    for index in sorted(unnamed - out - {label, text}):
        what = "counts the rows or names them" if index == 0 else "is empty"
        warnings.append(f"Column {index} has no name and {what}. It was left out: name it to keep it.")
        out.add(index)
    features = [index for index in range(len(names)) if index not in out | {label}]
    if text is None and not chosen:
        text = _detect_text(features, names, rest, warnings)
    if text is not None:
        features = _choose_text(text, features, names, warnings)
    elif 0 in features and _counts_rows([cells[0] for cells in rest if cells]):
        warnings.append(
            f"The first column, {names[0]!r}, counts the rows. If it is no input, send `leave_out={names[0]}`."
        )
    _check_features(names, features, text, chosen)
    return TableLayout(names, tuple(features), label, weight, text, has_names, chosen, warnings)


def _detect_text(
    features: Sequence[int], names: Sequence[str], rest: Sequence[list[str]], warnings: list[str]
) -> int | None:
    """Return the only input column, beside one that counts the rows, if it has texts, with a warning; else None."""
    inputs = [index for index in features if not _counts_rows(_list_cells(rest, index))]
    if len(inputs) != 1 or not has_texts(_list_cells(rest, inputs[0])):
        return None
    name = names[inputs[0]]
    warnings.append(
        f'Column {name!r} was read as texts. If it has categories, send `columns` as {{"{name}": "{ONE_HOT}"}}.'
    )
    return inputs[0]


def _choose_text(text: int, features: Sequence[int], names: Sequence[str], warnings: list[str]) -> list[int]:
    """Return the text as the only input column, with a warning for the others."""
    others = [names[index] for index in features if index != text]
    if others:
        warnings.append(f"Texts are the only input, so that these columns were left out: {list_names(others)}.")
    return [text]


def _check_features(
    names: Sequence[str], features: Sequence[int], text: int | None, chosen: Mapping[int, ColumnOptions]
) -> None:
    """Check that there is an input, and that the options of columns are those of inputs. Raises DatasetRefused."""
    if not features:
        raise dataset_error(
            "Only the label column remains. At least one input column is needed: leave out fewer columns."
        )
    unfit = [names[index] for index in chosen if index not in features or index == text]
    if unfit:
        detail = "The column is no input of numbers: it is the label, has the texts, or is left out. Remove the key."
        raise DatasetRefused("The options do not fit the columns.", (Fault(f"#/columns/{min(unfit)}", detail),))


def _check_roles(names: Sequence[str], label: int, weight: int | None, text: int | None, out: set[int]) -> None:
    """Check that no column has two roles. Raises DatasetRefused."""
    if label == weight:
        fault = Fault("#/weight", f"{names[label]!r} is the label column. Choose another column.")
        raise DatasetRefused("The label column cannot be the weight.", (fault,))
    if label in out:
        raise DatasetRefused(
            "The label column cannot be left out.",
            (Fault("#/leave_out", f"{names[label]!r} is the label column. Choose another column as `label`."),),
        )
    if text is not None and (text == label or text in out):
        what = "the label column" if text == label else "the weight, or left out"
        fault = Fault("#/text", f"{names[text]!r} is {what}. Choose another column.")
        raise DatasetRefused("The column cannot have the texts.", (fault,))


def _swap_text_label(label: int, candidates: set[int], rest: Sequence[list[str]]) -> int:
    """Return the other one of two columns if the last one, which would be the label, has texts and the other classes.

    Tables of messages often begin with the label.
    """
    others = candidates - {label}
    if len(others) != 1 or label not in candidates or not has_texts(_list_cells(rest, label)):
        return label
    (other,) = others
    return other if _has_classes(_list_cells(rest, other)) else label


def _list_cells(rest: Sequence[Sequence[str]], index: int) -> list[str]:
    return [cells[index] for cells in rest if index < len(cells)]


def _names_classes(first: Sequence[str], rest: Sequence[Sequence[str]]) -> bool:
    """Return whether the first row has the names of a table without numbers: one names a column of few classes.

    It does not occur among the cells below, of which each occurs several times.
    """
    if any(map(is_number, first)):
        return False
    for index, name in enumerate(first):
        cells = _list_cells(rest, index)
        if name not in cells and _has_classes(cells):
            return True
    return False


def _has_classes(cells: Sequence[str]) -> bool:
    """Return whether the cells of a column are few values, each of which occurs about twice or more."""
    return len(cells) >= MIN_CLASS_CELLS and 2 * len(set(cells)) <= len(cells)


def _choose_names(
    first: list[str], rest: Sequence[list[str]], options: TableOptions
) -> tuple[tuple[str, ...], bool, list[str]]:
    """Return the names of the columns, whether the first row has them, and warnings. Raises DatasetRefused."""
    if rest and all(len(cells) == len(first) + 1 for cells in rest) and not any(map(is_number, first)):
        first = ["", *first]  # R writes no name above the names of the rows
    if len(first) < MIN_COLUMNS:
        raise dataset_error(
            "The first row has a single cell. Each row needs at least one number and a label, separated by "
            "commas, semicolons, tabs or vertical bars (|)."
        )
    has_names = has_header(first, rest, options)
    is_guessed = False
    if options.header is None and not has_names:
        has_names = _names_classes(first, rest)
        is_guessed = not has_names and names_texts(first, rest)
    has_names = has_names or is_guessed
    names = tuple(first) if has_names else tuple(f"column {index}" for index in range(len(first)))
    duplicates = sorted(name for name, times in Counter(names).items() if name and times > 1)
    if duplicates:
        raise dataset_error(
            *[f"More than one column is named {name!r}. Rename all but one." for name in duplicates[:MAX_FAULTS]]
        )
    is_guessed = is_guessed or (has_names and options.header is None and sum(map(is_number, first)) >= MIN_COLUMNS)
    if not is_guessed:
        return names, has_names, []
    shown = ", ".join(map(repr, first[:MIN_COLUMNS])) + (", …" if len(first) > MIN_COLUMNS else "")
    return names, True, [f"The first row, {shown}, was read as names. If it is data, send `header=false`."]


def _find_unnamed(names: Sequence[str], rest: Sequence[Sequence[str]]) -> set[int]:
    """Return the columns without a name that are no data: the first with row numbers or row names, or empty ones."""
    unnamed = set()
    for index, name in enumerate(names):
        cells = [row[index] for row in rest if index < len(row)]
        if name.lower() not in ROW_NAMES or not cells:
            continue
        is_rows = index == 0 and (_counts_rows(cells, MIN_NAMELESS_ROWS) or not any(map(is_number, cells)))
        if is_rows or (not name and not any(cells)):
            unnamed.add(index)
    return unnamed if len(unnamed) < len(names) else set()


def _counts_rows(cells: Sequence[str], fewest: int = MIN_COUNTED_ROWS) -> bool:
    """Return whether the cells, at least so many, are whole numbers that rise by 1."""
    if len(cells) < fewest or not all(cell.isascii() and cell.isdecimal() for cell in cells):
        return False
    return all(int(other) == int(one) + 1 for one, other in pairwise(cells))


def has_header(first: Sequence[str], rest: Sequence[Sequence[str]], options: TableOptions) -> bool:
    """Return whether the first row contains the names of the columns: as the options say, else as `is_header` tells.

    It also does if the options name a column.
    """
    if options.header is not None:
        return options.header
    named = (options.label, options.weight, options.text, *options.leave_out, *options.columns)
    return any(_parse_position(text) is None for text in named if text is not None) or is_header(first, rest)


def _parse_position(text: str) -> int | None:
    """Parse the position of a column, such as `2` or `-1`. Returns None for other text."""
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdecimal() and len(digits) < 7 else None  # noqa: PLR2004 - digits


def _find_column(text: str, names: tuple[str, ...], positions: Mapping[str, int], key: str) -> int:
    """Return the index of a column, given its name or else its position: from 0, or -1 for the last one.

    `positions` are the positions of the names, empty without a header. Raises DatasetRefused, with a pointer to the
    option `key`.
    """
    if text in positions:
        return positions[text]
    position = _parse_position(text)
    if position is not None and -len(names) <= position < len(names):
        return position % len(names)
    shown = f"{', '.join(map(repr, names[:MAX_SHOWN_COLUMNS]))}{', …' if len(names) > MAX_SHOWN_COLUMNS else ''}"
    there = f" The columns are {shown}." if positions else ""
    detail = f"There is no column {text!r}.{there} The positions are 0 to {len(names) - 1}; -1 is the last column."
    raise DatasetRefused("The column does not exist.", (Fault(f"#/{key}", detail),))
