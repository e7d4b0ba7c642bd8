"""Show the list of jobs, with its filters."""

from typing import Any

from flask import Response, request, url_for

from api.documents.jobs import JobSummary
from api.http.pagination import TIME_KEY, make_next_cursor, parse_page
from api.services import services
from api.web.pages.project_filter import list_projects
from api.web.rendering import render
from shared.database.tables.jobs import JobKind, JobStatus
from shared.errors import InvalidRequest, list_names
from shared.jobs.queries import JobFilters, list_jobs

PAGE_LENGTH = 50
FILTERS = ("status", "kind", "owner", "model", "project", "tag", "q")
MAX_CHARACTERS = 320


def show_jobs() -> Response:
    """Show a page of the jobs that the filters match, the newest first. Raises InvalidRequest for a forged cursor."""
    given = {key: request.args.get(key, "").strip()[:MAX_CHARACTERS] for key in FILTERS}
    page = parse_page(PAGE_LENGTH, request.args.get("cursor"), TIME_KEY)
    statuses = tuple(text for text in given["status"].split(",") if text)
    for name, text, known in (*(("status", one, JobStatus) for one in statuses), ("kind", given["kind"], JobKind)):
        if text and text not in list(known):
            raise InvalidRequest(f"There is no {name} {text[:100]!r}. Use one of {list_names(list(known))}.")
    key, _, value = given["tag"].partition(":")
    filters = JobFilters(
        statuses=tuple(map(JobStatus, statuses)),
        kind=JobKind(given["kind"]) if given["kind"] else None,
        owner=services().owners.get_current() if given["owner"] == "me" else given["owner"] or None,
        model=given["model"] or None,
        project=given["project"] or None,
        tag=(key, value or None) if key else None,
        text=given["q"] or None,
    )
    with services().sessions() as session:
        found = list_jobs(session, page, filters)
        jobs = [JobSummary.from_job(job) for job in found]
        projects = list_projects(session)
    cursor = make_next_cursor(page, [(job.created_at, job.id) for job in found])
    chosen: dict[str, Any] = {key: value for key, value in given.items() if value}
    return render(
        "jobs/jobs.html",
        "web.show_jobs",
        script="pages/jobs.js",
        jobs=jobs,
        given=given,
        is_filtered=bool(chosen),
        statuses=list(JobStatus),
        kinds=list(JobKind),
        projects=projects,
        next_page=url_for("web.show_jobs", **chosen, cursor=cursor) if cursor else None,
        is_first="cursor" not in request.args,
    )
