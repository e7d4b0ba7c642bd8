"""Show the curves of several jobs over each other, and what differs in their specs."""

import json
from typing import Any
from uuid import UUID

from flask import Response, request

from api.documents.jobs import load_columns
from api.services import services
from api.web.rendering import render
from shared.database.tables.jobs import Job, JobKind
from shared.errors import InvalidRequest
from shared.jobs import queries
from shared.registry import versions
from shared.registry.manifest import Metrics

MAX_JOBS = 8
MAX_POINTS = 200


def show_compare() -> Response:
    """Show the first MAX_JOBS trainings. A job that is gone is named. Raises InvalidRequest for what is no id."""
    given = _read_ids()
    ids = given[:MAX_JOBS]
    with services().sessions() as session:
        found = {job: session.get(Job, job) for job in ids}
        jobs = [job for job in found.values() if job is not None and job.kind == JobKind.TRAINING]
        curves = {job.id: load_columns(session, job, MAX_POINTS) for job in jobs}
        published = [job.version for job in jobs if job.version is not None]
        metrics = versions.get_metrics(session, published)
        rows = _list_differences([(job, queries.get_job(session, job.id).spec) for job in jobs])
    measured = {version.job_id: found for version, found in zip(published, metrics, strict=True)}
    measured |= {job.id: job.metrics for job in jobs if job.metrics is not None}  # of the folds of a cross-validation
    headlines = {job_id: Metrics.model_validate(found).choose_headline() for job_id, found in measured.items()}
    return render(
        "jobs/compare.html",
        "web.show_jobs",
        script="pages/compare.js",
        script_words=("chart.", "compare.script."),
        jobs=jobs,
        shown=(len(ids), len(given)),
        headlines=headlines,
        missing=[str(job_id) for job_id, job in found.items() if job is None or job.kind != JobKind.TRAINING],
        rows=rows,
        data={
            "jobs": [
                {"id": str(job.id), "label": f"{job.model} {str(job.id)[:4]}", "columns": curves[job.id].model_dump()}
                for job in jobs
            ]
        },
    )


def _read_ids() -> list[UUID]:
    """Return the ids of `?jobs=`, repeated or separated by commas. Raises InvalidRequest."""
    given = [text for value in request.args.getlist("jobs") for text in value.split(",") if text]
    try:
        return list(dict.fromkeys(UUID(text) for text in given))
    except ValueError:
        raise InvalidRequest("`jobs` has something that is not the id of a job.") from None


def _list_differences(specs: list[tuple[Job, dict[str, Any]]]) -> list[tuple[str, list[str]]]:
    """List the keys of the specs whose values differ, each with the values of all specs as text."""
    flat = [dict(_flatten(spec, "")) for _, spec in specs]
    keys = dict.fromkeys(key for one in flat for key in one)
    rows = [(key, [_to_text(one.get(key)) for one in flat]) for key in keys]
    return [(key, values) for key, values in rows if len(set(values)) > 1]


def _flatten(value: Any, path: str) -> list[tuple[str, Any]]:  # noqa: ANN401 - JSON
    """Return the leaves of a spec with their paths. Inline data are one leaf."""
    if isinstance(value, dict) and value and path != "dataset.inline":
        return [leaf for key, one in value.items() for leaf in _flatten(one, f"{path}.{key}" if path else key)]
    if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        return [leaf for index, one in enumerate(value) for leaf in _flatten(one, f"{path}[{index}]")]
    return [(path, value)]


def _to_text(value: Any) -> str:  # noqa: ANN401 - JSON
    return "–" if value is None else json.dumps(value, ensure_ascii=False)
