"""Show the models, and one model with its versions and aliases."""

from flask import Response, request, url_for

from api.documents.registry import VersionSummary, format_model, format_version
from api.http.pagination import NUMBER_KEY, TEXT_KEY, make_next_cursor, parse_page
from api.services import services
from api.web.rendering import render
from shared.registry import aliases, versions

PAGE_LENGTH = 50


def show_models() -> Response:
    """Show a page of the models, ordered by name."""
    page = parse_page(PAGE_LENGTH, request.args.get("cursor"), TEXT_KEY)
    with services().sessions() as session:
        models = [format_model(session, model) for model in versions.list_models(session, page)]
    cursor = make_next_cursor(page, [(model.name,) for model in models])
    return render(
        "models/models.html",
        "web.show_models",
        script="pages/times.js",
        models=models,
        next_page=url_for("web.show_models", cursor=cursor) if cursor else None,
    )


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
        next_page=url_for("web.show_model", model=model, cursor=cursor) if cursor else None,
        data={"model": model},
    )
