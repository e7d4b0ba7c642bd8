"""Read what the types of problems mean from the documentation."""

import re
from functools import cache
from pathlib import Path

from api.documents.operations import ProblemExplanation

PAGE = Path(__file__).parents[2] / "docs" / "problems.md"
ROW = re.compile(r"^\| (?P<kinds>`[a-z`, -]+`) \|(?: (?P<status>\d{3}) \|)? (?P<meaning>.+) \|$", re.MULTILINE)
"""A row of a table of PAGE: types, the status of an answer (a job that fails has none), and the meaning."""


@cache
def load_problem_types() -> dict[str, ProblemExplanation]:
    """Read the types with their meaning, in the order of the documentation."""
    return {
        kind: ProblemExplanation(
            type=f"/problems/{kind}",
            title=kind.replace("-", " ").capitalize(),
            status=int(row["status"]) if row["status"] else None,
            meaning=row["meaning"],
        )
        for row in ROW.finditer(PAGE.read_text())
        for kind in re.findall(r"[a-z-]+", row["kinds"])
    }
