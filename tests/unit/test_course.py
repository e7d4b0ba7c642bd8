"""Test that the page of the course lists all exercises with their figures, and that the notebooks do them."""

import json
import re
from collections import Counter

from local.course import EXERCISES, FOLDER, README, list_notebooks, make_page, read_exercises

COUNTS = {"000": 29, "001": 18, "002": 19, "003": 14, "004": 10}


def read_code() -> str:
    """Return the code of all notebooks."""
    cells = [cell for path in list_notebooks() for cell in json.loads(path.read_text())["cells"]]
    return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


def test_all_90_exercises_are_listed_once() -> None:
    exercises = [row["exercise"] for row in read_exercises()]

    assert Counter(exercise.split("-")[0] for exercise in exercises) == COUNTS
    assert len(set(exercises)) == len(exercises) == 90
    assert all(row["korean"] and row["english"] and row["with"] for row in read_exercises()), EXERCISES


def test_each_exercise_is_in_the_code_of_a_notebook() -> None:
    named = set(re.findall(r"\d{3}-\d+", read_code()))

    assert {row["exercise"] for row in read_exercises()} - named == set()


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
        assert "(cut)" not in json.dumps(outputs), f"{path} was written with SHORT=1"
        assert str(FOLDER.parents[1]) not in path.read_text(), "the path of a machine"
