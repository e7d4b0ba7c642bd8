"""Explain the types of problems."""

import re
from functools import cache
from html import escape
from pathlib import Path

from flask import Response, request
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel

from api.documents.operations import ProblemExplanation
from api.http.requests import parse_request
from api.http.responses import describe_problems, to_response
from shared.errors import FileNotFound, suggest

PAGE = Path(__file__).parents[2] / "docs" / "problems.md"
ROW = re.compile(r"^\| (?P<kinds>`[a-z`, -]+`) \|(?: (?P<status>\d{3}) \|)? (?P<meaning>.+) \|$", re.MULTILINE)
"""A row of a table of PAGE: types, the status of an answer (a job that fails has none), and the meaning."""

bp = APIBlueprint("problem_types", __name__, url_prefix="/problems", abp_tags=[Tag(name="Service")])


class ProblemTypePath(BaseModel):
    kind: str


@bp.get(
    "/<string:kind>",
    responses={
        200: {
            "description": "What the problem means, and its remedy. A browser gets a page.",
            "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/ProblemExplanation"}},
                "text/html": {"schema": {"type": "string"}},
            },
        },
        **describe_problems(FileNotFound),
    },
)
@parse_request
def explain_problem_type(path: ProblemTypePath) -> Response:
    """Explain a type of problem: the `type` of an error is the path of this explanation."""
    types = _load_types()
    if path.kind not in types:
        raise FileNotFound(f"There is no problem type {path.kind[:100]!r}.{suggest(path.kind, types)}")
    explained = types[path.kind]
    if request.accept_mimetypes.best_match(["application/json", "text/html"], "application/json") == "text/html":
        return Response(_write_page(explained), content_type="text/html; charset=utf-8")
    return to_response(explained)


@cache
def _load_types() -> dict[str, ProblemExplanation]:
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


def _write_page(explained: ProblemExplanation) -> str:
    title = escape(explained.title)
    meaning = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(explained.meaning, quote=False))
    answered = f"<p>HTTP status {explained.status}</p>" if explained.status else "<p>The error of a job that failed</p>"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title} · Trainyard</title>'
        f"<h1>{title}</h1>{answered}<p>{meaning}</p></html>"
    )
