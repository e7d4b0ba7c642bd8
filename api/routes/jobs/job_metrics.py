"""Show the metrics of the epochs of a job: as rows, as columns for charts, as CSV and as curves."""

from collections.abc import Iterator
from uuid import UUID

from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, Field

from api.access.needs import needs
from api.charts import drawings
from api.charts.kinds import Drawing
from api.charts.response import PICTURE, PictureQuery, make_picture_response
from api.documents.jobs import EpochColumns, EpochDocument, EpochList, load_columns
from api.http.pagination import NUMBER_KEY, PageQuery, make_next_cursor, parse_page
from api.http.paths import JobPath, JobPicturePath
from api.http.requests import parse_request
from api.http.responses import describe_bytes, describe_problems, to_response
from api.services import services
from api.streaming.tables import write_rows
from shared.access.rights import Scope
from shared.database.engine import Sessions
from shared.errors import JobNotFound, PictureNotFound
from shared.jobs import events, queries

MAX_POINTS = 100_000
MAX_DRAWN = 10_000
"""The most epochs of a picture: of more, some are drawn."""
CSV_ROWS = 1000

bp = APIBlueprint("job_metrics", __name__, url_prefix="/api/v1/jobs", abp_tags=[Tag(name="Jobs")])


class ColumnsQuery(BaseModel):
    points: int = Field(
        default=2000,
        ge=10,
        le=MAX_POINTS,
        description="The most epochs. Of more epochs, those with the smallest and largest values are kept.",
    )


@bp.get("/<uuid:job_id>/metrics", responses={200: EpochList, **describe_problems(JobNotFound)})
@needs(Scope.READ)
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
@needs(Scope.READ)
@parse_request
def show_metric_columns(path: JobPath, query: ColumnsQuery) -> Response:
    """Show the metrics of all epochs as columns, for charts.

    A job with many epochs is thinned out to `points` epochs, without losing a peak of a curve.
    Of more than 10,000 epochs, only some are read. Values have six digits.
    A stream of the events after `last_event` continues the columns.
    """
    with services().sessions() as session:
        return to_response(load_columns(session, queries.get_job(session, path.job_id), query.points))


@bp.get(
    "/<uuid:job_id>/metrics.csv",
    responses={
        200: describe_bytes("text/csv", "A row for each epoch. A value that is not finite is empty."),
        **describe_problems(JobNotFound),
    },
)
@needs(Scope.READ)
@parse_request
def download_metrics(path: JobPath) -> Response:
    """Download the metrics of all epochs as CSV."""
    with services().sessions() as session:
        job = queries.get_job(session, path.job_id)
    headers = {"Content-Disposition": f'attachment; filename="{job.model}-{job.id}-metrics.csv"'}
    return Response(_write_csv(services().sessions, job.id), content_type="text/csv; charset=utf-8", headers=headers)


def _write_csv(sessions: Sessions, job_id: UUID) -> Iterator[str]:
    """Yield the header and the rows. The columns are the metrics of the first CSV_ROWS epochs."""
    names: list[str] = []
    last = 0
    while True:
        with sessions() as session:
            epochs = events.list_epochs(session, job_id, last, CSV_ROWS)
        if last == 0:
            names = list(dict.fromkeys(name for epoch in epochs for name in epoch.metrics))
            yield write_rows([("epoch", "seconds", "learning_rate", *names)])
        if not epochs:
            return
        last = epochs[-1].epoch
        yield write_rows(
            (epoch.epoch, epoch.seconds, epoch.learning_rate, *(epoch.metrics.get(name) for name in names))
            for epoch in epochs
        )


@bp.get(
    "/<uuid:job_id>/curves.<picture_format>",
    responses={200: PICTURE, **describe_problems(JobNotFound, PictureNotFound)},
)
@needs(Scope.READ)
@parse_request
def draw_curves(path: JobPicturePath, query: PictureQuery) -> Response:
    """Draw the learning curves of a job.

    The curves show the loss and the metrics of training and validation by epoch, also while the job runs.
    """
    sessions = services().sessions
    with sessions() as session:
        job = queries.get_job(session, path.job_id)
        last = events.get_last_epoch(session, job.id)
    if not last:
        raise PictureNotFound(f"Job {job.id} has trained no epoch.")

    def make() -> Drawing:
        with sessions() as session:
            epochs = events.list_evenly(session, job.id, MAX_DRAWN)
        metrics = {name: [epoch.metrics.get(name) for epoch in epochs] for name in epochs[-1].metrics}
        title = f"{job.model}, job {str(job.id)[:8]}"
        return drawings.draw_curves(title, [epoch.epoch for epoch in epochs], metrics)

    content = ("curves", job.model, str(job.id), job.attempt, last)
    return make_picture_response(services().pictures, path.picture_format, query, content, make)
