"""Show the types of problems: what they mean, and what to do."""

from flask import Response

from api.documents.problem_types import load_problem_types
from api.web.rendering import render
from shared.errors import FileNotFound, suggest


def show_problem_types() -> Response:
    """Show all types of problems."""
    return render("problem_types.html", types=list(load_problem_types().values()))


def show_problem_type(kind: str) -> Response:
    """Show a type of problem. Raises FileNotFound."""
    types = load_problem_types()
    if kind not in types:
        raise FileNotFound(f"There is no problem type {kind[:100]!r}.{suggest(kind, types)}")
    return render("problem_types.html", types=[types[kind]])
