"""Format the results of a batch prediction as CSV."""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from api.streaming.tables import write_rows


def format_csv(parts: Iterable[bytes], columns: Sequence[str]) -> Iterator[str]:
    """Yield the header, and the rows of each part. A part is JSON Lines.

    `columns` are the names of the columns with predictions. They are empty in the row of an input with a problem.
    """
    yield write_rows([("row", "name", *columns, "warnings", "problem")])
    for part in parts:
        yield write_rows(_format_row(json.loads(line), columns) for line in part.splitlines())


def _format_row(answer: dict[str, Any], columns: Sequence[str]) -> Sequence[Any]:
    warnings = " ".join(answer.get("warnings", ()))
    problem = answer.get("problem", {}).get("detail")
    return answer["row"], answer["name"], *_list_values(answer, columns), warnings, problem


def _list_values(answer: dict[str, Any], columns: Sequence[str]) -> list[Any]:
    if "problem" in answer:
        return [None] * len(columns)
    if "label" in answer:
        return [answer[column] for column in columns]
    if "labels" in answer:  # the first column has those that were found
        probabilities = {one["label"]: one["probability"] for one in answer["probabilities"]}
        return [";".join(answer["labels"]), *(probabilities[column] for column in columns[1:])]
    value = answer["value"]
    return value if isinstance(value, list) else [value]
