"""Show what the folds of a cross-validation have measured."""

from flask import Response
from flask_openapi3 import APIBlueprint, Tag

from api.access.needs import needs
from api.documents.cross_validation import CrossValidationDocument
from api.http.paths import JobPath
from api.http.requests import parse_request
from api.http.responses import describe_problems, to_response
from api.services import services
from shared.access.rights import Scope
from shared.errors import EvaluationNotFound, JobNotFound
from shared.jobs import queries

bp = APIBlueprint("cross_validations", __name__, url_prefix="/api/v1/jobs", abp_tags=[Tag(name="Jobs")])


@bp.get(
    "/<uuid:job_id>/cross-validation",
    responses={200: CrossValidationDocument, **describe_problems(JobNotFound, EvaluationNotFound)},
)
@needs(Scope.READ)
@parse_request
def show_cross_validation(path: JobPath) -> Response:
    """Show the cross-validation that a job is a fold of.

    The answer has the mean and the deviation of each metric over the folds that have succeeded so far.
    """
    with services().sessions() as session:
        return to_response(CrossValidationDocument.load(session, queries.get_job(session, path.job_id)))
