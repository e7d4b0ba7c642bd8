"""Show the metrics of the epochs of a job: as rows, as columns for charts, as CSV and as curves."""

from collections.abc import Iterator

from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, Field

from api.charts import drawings
from api.charts.response import PICTURE, PictureQuery, make_picture_response
from api.documents.jobs import EpochColumns, EpochDocument, EpochList, make_columns
from api.http.pagination import NUMBER_KEY, PageQuery, make_next_cursor, parse_page
from api.http.paths import JobPath, JobPicturePath
from api.http.requests import parse_request
from api.http.responses import describe_bytes, describe_problems, to_response
from api.services import services
from api.streaming.tables import write_rows
from shared.database.tables.jobs import JobEpoch
from shared.errors import JobNotFound, PictureNotFound
from shared.jobs import events, queries

MAX_EPOCHS = 100_000
CSV_ROWS = 1000

bp = APIBlueprint("job_metrics", __name__, url_prefix="/api/v1/jobs", abp_tags=[Tag(name="Jobs")])


class ColumnsQuery(BaseModel):
    points: int = Field(
        default=2000,
        ge=10,
        le=MAX_EPOCHS,
        description="The most epochs. Of more epochs, those with the smallest and largest values are kept.",
    )


@bp.get("/<uuid:job_id>/metrics", responses={200: EpochList, **describe_problems(JobNotFound)})
@parse_request
def show_metrics(path: JobPath, query: PageQuery) -> Response:
    """List the metrics of each epoch, the first epoch first."""
    page = parse_page(query.limit, query.cursor, NUMBER_KEY)
    after = page.after[0] if page.after is not None else 0
    with services().sessions() as session:
        queries.get_job(session, path.job_id)
        epochs = events.list_epochs(session, path.job_id, after, page.limit)
    documents = [EpochDocument.model_validate(epoch) for epoch in epochs]
    return to_response(EpochList(epochs=documents, next=make_next_cursor(page, [(epoch.epoch,) for epoch in epochs])))


@bp.get("/<uuid:job_id>/metrics/columns", responses={200: EpochColumns, **describe_problems(JobNotFound)})
@parse_request
def show_metric_columns(path: JobPath, query: ColumnsQuery) -> Response:
    """Show the metrics of all epochs as columns, for charts.

    A job with many epochs is thinned out to `points` epochs, without losing a peak of a curve. Values have six digits.
    A stream of the events after `last_event` continues the columns.
    """
    with services().sessions() as session:
        job = queries.get_job(session, path.job_id)
        epochs = events.list_epochs(session, path.job_id, 0, MAX_EPOCHS)
    return to_response(make_columns(epochs, job.last_event, query.points))


@bp.get(
    "/<uuid:job_id>/metrics.csv",
    responses={
        200: describe_bytes("text/csv", "A row for each epoch. A value that is not finite is empty."),
        **describe_problems(JobNotFound),
    },
)
@parse_request
def download_metrics(path: JobPath) -> Response:
    """Download the metrics of all epochs as CSV."""
    with services().sessions() as session:
        job = queries.get_job(session, path.job_id)
        epochs = events.list_epochs(session, path.job_id, 0, MAX_EPOCHS)
    headers = {"Content-Disposition": f'attachment; filename="{job.model}-{job.id}-metrics.csv"'}
    return Response(_format_csv(epochs), content_type="text/csv; charset=utf-8", headers=headers)


def _format_csv(epochs: list[JobEpoch]) -> Iterator[str]:
    names = list(dict.fromkeys(name for epoch in epochs for name in epoch.metrics))
    yield write_rows([("epoch", "seconds", "learning_rate", *names)])
    for start in range(0, len(epochs), CSV_ROWS):
        yield write_rows(
            (epoch.epoch, epoch.seconds, epoch.learning_rate, *(epoch.metrics.get(name) for name in names))
            for epoch in epochs[start : start + CSV_ROWS]
        )


@bp.get(
    "/<uuid:job_id>/curves.<picture_format>",
    responses={200: PICTURE, **describe_problems(JobNotFound, PictureNotFound)},
)
@parse_request
def draw_curves(path: JobPicturePath, query: PictureQuery) -> Response:
    """Draw the learning curves of a job.

    The curves show the loss and the metrics of training and validation by epoch, also while the job runs.
    """
    with services().sessions() as session:
        job = queries.get_job(session, path.job_id)
        epochs = events.list_epochs(session, path.job_id, 0, MAX_EPOCHS)
    if not epochs:
        raise PictureNotFound(f"Job {job.id} has trained no epoch.")
    numbers = [epoch.epoch for epoch in epochs]
    metrics = {name: [epoch.metrics.get(name) for epoch in epochs] for name in epochs[-1].metrics}
    title = f"{job.model}, job {str(job.id)[:8]}"
    content = ("curves", title, job.attempt, metrics)
    return make_picture_response(
        services().pictures, path.picture_format, query, content, lambda: drawings.draw_curves(title, numbers, metrics)
    )
