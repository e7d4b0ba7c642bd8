"""Explain the types of problems."""

from http import HTTPStatus

from flask import Response, make_response, redirect, request, url_for
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel

from api.access.needs import open_to_all
from api.documents.problem_types import load_problem_types
from api.http.requests import parse_request
from api.http.responses import describe_problems, to_response
from shared.errors import FileNotFound, suggest

bp = APIBlueprint("problem_types", __name__, url_prefix="/problems", abp_tags=[Tag(name="Service")])


class ProblemTypePath(BaseModel):
    kind: str


@bp.get(
    "/<string:kind>",
    responses={
        200: {
            "description": "What the problem means, and its remedy.",
            "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/ProblemExplanation"}},
            },
        },
        303: {"description": "A browser is sent to the page of the type."},
        **describe_problems(FileNotFound),
    },
)
@open_to_all
@parse_request
def explain_problem_type(path: ProblemTypePath) -> Response:
    """Explain a type of problem: the `type` of an error is the path of this explanation."""
    if request.accept_mimetypes.best_match(["application/json", "text/html"], "application/json") == "text/html":
        page = redirect(url_for("web.show_problem_type", kind=path.kind), HTTPStatus.SEE_OTHER)
        page.vary.add("Accept")
        return make_response(page)
    types = load_problem_types()
    if path.kind not in types:
        raise FileNotFound(f"There is no problem type {path.kind[:100]!r}.{suggest(path.kind, types)}")
    return to_response(types[path.kind])
