"""Test that the page of the course lists all exercises with their figures, and that the notebooks do them."""

import json
from collections import Counter

from local.course import EXERCISES, FOLDER, README, list_notebooks, make_page, read_exercises

COUNTS = {"000": 29, "001": 18, "002": 19, "003": 14, "004": 10}


def read_sources() -> str:
    """Return the code and the text of all notebooks."""
    cells = [cell for path in list_notebooks() for cell in json.loads(path.read_text())["cells"]]
    return "\n".join("".join(cell["source"]) for cell in cells)


def list_mentioned(source: str, note: str, last: int) -> set[str]:
    """Return the exercises of a note that a text names, alone, in lists or in ranges such as `(000-15 … 000-18)`."""
    numbers = range(1, last + 1)
    named = {number for number in numbers if f"{note}-{number}" in source.replace(f"{note}-{number}0", "")}
    for line in source.splitlines():
        if line.startswith("#") and " … " in line and f"({note}-" in line:
            first, _, end = line.rpartition("(")[2].rstrip(")").partition(" … ")
            start = first.split(", ")[-1]
            named |= set(range(int(start.split("-")[1]), int(end.split(",")[0].split("-")[1]) + 1))
    return {f"{note}-{number}" for number in named}


def test_all_90_exercises_are_listed_once() -> None:
    exercises = [row["exercise"] for row in read_exercises()]

    assert Counter(exercise.split("-")[0] for exercise in exercises) == COUNTS
    assert len(set(exercises)) == len(exercises) == 90
    assert all(row["korean"] and row["english"] and row["with"] for row in read_exercises()), EXERCISES


def test_each_exercise_is_in_a_notebook() -> None:
    source = read_sources()

    mentioned = set().union(*(list_mentioned(source, note, last) for note, last in COUNTS.items()))

    assert {row["exercise"] for row in read_exercises()} - mentioned == set()


def test_the_table_has_the_figures_of_the_notebooks() -> None:
    page = README.read_text()

    assert make_page(page) == page
    assert page.count("\n| ") == 90 + 5 * 2 + 5, "the exercises, five heads of two lines, and the table of the files"


def test_the_notebooks_were_executed_whole_and_without_an_error() -> None:
    for path in list_notebooks():
        cells = json.loads(path.read_text())["cells"]
        assert all(cell["execution_count"] for cell in cells if cell["cell_type"] == "code"), path
        outputs = [output for cell in cells for output in cell.get("outputs", [])]
        assert not [output for output in outputs if output["output_type"] == "error"], path
        assert str(FOLDER.parents[1]) not in path.read_text(), "the path of a machine"
