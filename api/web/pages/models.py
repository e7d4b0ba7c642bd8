"""Show the models, and one model with its versions and aliases."""

from dataclasses import dataclass

from flask import Response, request, url_for

from api.access.callers import get_caller
from api.documents.registry import VersionSummary, format_model, format_version
from api.http.pagination import NUMBER_KEY, TEXT_KEY, make_next_cursor, parse_page
from api.services import services
from api.web.pages.project_filter import list_projects, read_project
from api.web.rendering import render
from shared.access.rights import Scope
from shared.registry import aliases, versions

PAGE_LENGTH = 50
MIN_HISTORY = 2


def show_models() -> Response:
    """Show a page of the models, ordered by name."""
    page, project = parse_page(PAGE_LENGTH, request.args.get("cursor"), TEXT_KEY), read_project()
    with services().sessions() as session:
        models = [format_model(session, model) for model in versions.list_models(session, page, project)]
        projects = list_projects(session)
    cursor = make_next_cursor(page, [(model.name,) for model in models])
    return render(
        "models/models.html",
        "web.show_models",
        script="pages/times.js",
        models=models,
        projects=projects,
        project=project,
        next_page=url_for("web.show_models", cursor=cursor, project=project) if cursor else None,
    )


@dataclass(frozen=True)
class History:
    """The main metric of several versions, the oldest first: its name, and a point of a chart for each of them.

    A point is x and y from 0 to 1, the number of the version, and the value.
    """

    part: str
    metric: str
    low: float
    high: float
    points: list[tuple[float, float, int, float]]


def _draw_history(listed: list[VersionSummary]) -> History | None:
    """Return the history of the metric that the newest version is judged by; None for fewer than two versions."""
    headlines = [(version.version or 0, version.metrics.choose_headline()) for version in reversed(listed)]
    newest = headlines[-1][1] if headlines else None
    values = [(number, found[2]) for number, found in headlines if found and newest and found[:2] == newest[:2]]
    if newest is None or len(values) < MIN_HISTORY:
        return None
    low, high = min(value for _, value in values), max(value for _, value in values)
    points = [
        (place / (len(values) - 1), (value - low) / (high - low) if high > low else 0.5, number, value)
        for place, (number, value) in enumerate(values)
    ]
    return History(*newest[:2], low, high, points)


def show_model(model: str) -> Response:
    """Show a model, its versions with their main metric, and its aliases. Raises ModelNotFound."""
    page = parse_page(PAGE_LENGTH, request.args.get("cursor"), NUMBER_KEY)
    with services().sessions() as session:
        document = format_model(session, versions.get_model(session, model))
        numbers = aliases.list_aliases(session, model)
        found = versions.list_versions(session, model, page)
        measured = versions.get_metrics(session, found)
    listed = [
        VersionSummary.model_validate(format_version(version, numbers, {"metrics": metrics}))
        for version, metrics in zip(found, measured, strict=True)
    ]
    cursor = make_next_cursor(page, [(version.number,) for version in found])
    return render(
        "models/model.html",
        "web.show_models",
        script="pages/model.js",
        script_words=("model.script.",),
        model=document,
        versions=[(version, version.metrics.choose_headline()) for version in listed],
        history=_draw_history(listed),
        aliases=sorted(numbers.items()),
        next_page=url_for("web.show_model", model=model, cursor=cursor) if cursor else None,
        data={"model": model, "may_manage": get_caller().may(Scope.MANAGE)},
    )
