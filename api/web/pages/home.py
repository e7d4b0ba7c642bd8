"""Show the home page: what runs, who waits, what is served, and the first steps."""

from flask import Response

from api.access.callers import find_viewer
from api.documents.jobs import JobSummary
from api.services import services
from api.web.rendering import render
from shared.database.pagination import Page
from shared.database.tables.jobs import ENDED, HELD
from shared.datasets import revisions
from shared.jobs import workers
from shared.jobs.queries import JobFilters, list_jobs
from shared.jobs.queue.order import count_queue, list_queue
from shared.jobs.workers import VANISHED_AFTER_SECONDS
from shared.registry import versions
from shared.registry.manifest import Metrics

FEW_MODELS = 3
"""Whoever has fewer models, and no data of his own, is shown the first steps."""
MAX_WAITING, MAX_MODELS, MAX_ENDED = 5, 8, 8


def show_home() -> Response:
    """Show what happens now, without a word of what happened long ago."""
    with services().sessions() as session:
        running = [JobSummary.from_job(job) for job in list_jobs(session, Page(20), JobFilters(statuses=tuple(HELD)))]
        ended = list_jobs(session, Page(MAX_ENDED), JobFilters(statuses=tuple(ENDED)))
        lately = [JobSummary.from_job(job) for job in ended]
        waiting, queued = list_queue(session, MAX_WAITING, VANISHED_AFTER_SECONDS, find_viewer()), count_queue(session)
        served = versions.list_served_versions(session, MAX_MODELS)
        measured = versions.get_metrics(session, served)
        has_data = bool(revisions.list_datasets(session, Page(1)))
        has_worker = any(is_alive and not worker.ended_at for worker, is_alive, _ in workers.list_workers(session))
    models = [
        (version, Metrics.model_validate(metrics).choose_headline())
        for version, metrics in zip(served, measured, strict=True)
    ]
    return render(
        "home.html",
        "web.show_home",
        script="pages/home.js",
        running=running,
        lately=lately,
        waiting=waiting,
        queued=queued,
        models=models,
        has_worker=has_worker,
        is_new=len(models) < FEW_MODELS and not has_data,
    )
