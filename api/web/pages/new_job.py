"""Show the editor of a spec, with the recipes beside it."""

import io
from typing import Any
from uuid import UUID

from flask import Response, request
from ruamel.yaml import YAML

from api.documents.recipes import load_recipes
from api.services import services
from api.web.rendering import render
from shared.errors import FileNotFound, JobNotFound, suggest
from shared.jobs import queries
from shared.registry import versions

FIRST_RECIPE = "digits-cnn"
FINE_TUNING = """model: {model}
dataset:
  name: …
network:
  from: {model}@{number}
training:
  epochs: 5
"""
FROM_DATASET = """model: {name}
dataset:
  name: {dataset}
network:
  layers:
    - {{layer: Dense, units: 32, activation: relu}}
    - {{layer: Dense, units: {classes}, activation: softmax}}
training:
  epochs: 20
"""


def show_new_job() -> Response:
    """Show the editor with a recipe, with the spec of a job, or with a spec for a version or a data set.

    Raises FileNotFound for an unknown recipe, JobNotFound, ModelNotFound or VersionNotFound.
    """
    recipes = load_recipes()
    text, source = _choose_text()
    return render(
        "jobs/new_job.html",
        "web.show_jobs",
        script="pages/new_job.js",
        script_words=("new.script.",),
        recipes=list(recipes.values()),
        chosen=source,
        text=text,
        data={"source": source},
    )


def _choose_text() -> tuple[str, str]:
    """Return the text of the editor, and the name of the recipe that it is; empty for another source."""
    if (job_id := request.args.get("job")) is not None:
        return _write_spec_of(job_id), ""
    if (reference := request.args.get("version")) is not None:
        model, _, number = reference.partition("@")
        with services().sessions() as session:
            found = versions.get_version(session, model, number or "latest")
        return FINE_TUNING.format(model=found.model, number=found.number), ""
    if (dataset := request.args.get("dataset")) is not None:
        name = dataset.partition("@")[0][:100]
        return FROM_DATASET.format(name=name, dataset=dataset[:200], classes=request.args.get("classes", "2")[:5]), ""
    recipes = load_recipes()
    name = request.args.get("recipe", FIRST_RECIPE)
    if name not in recipes:
        raise FileNotFound(f"There is no recipe {name[:100]!r}.{suggest(name, recipes)}")
    return recipes[name].text, name


def _write_spec_of(job_id: str) -> str:
    """Return the spec of a job as YAML, without what is left at its default. Raises JobNotFound."""
    try:
        identifier = UUID(job_id)
    except ValueError:
        raise JobNotFound(f"There is no job {job_id[:100]!r}.") from None
    with services().sessions() as session:
        spec = queries.get_job(session, identifier).spec
    buffer = io.StringIO()
    yaml = YAML()
    yaml.default_flow_style = None
    yaml.width = 100
    yaml.dump(_drop_empty(spec), buffer)
    return buffer.getvalue()


def _drop_empty(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Leave out keys without a value."""
    if isinstance(value, dict):
        return {key: _drop_empty(one) for key, one in value.items() if one not in (None, {}, [], "")}
    return [_drop_empty(one) for one in value] if isinstance(value, list) else value
