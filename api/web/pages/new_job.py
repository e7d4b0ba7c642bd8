"""Show the editor of a spec, with the recipes beside it."""

import contextlib
import io
import re
from typing import Any
from uuid import UUID

from flask import Response, request
from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML

from api.access import objects
from api.access.callers import get_caller
from api.documents.datasets import RevisionDocument
from api.documents.recipes import load_recipes
from api.services import services
from api.web.pages.datasets import load_dataset
from api.web.pages.project_filter import list_trainable
from api.web.pages.recipe_gallery import group_recipes
from api.web.rendering import render
from shared.access.names import make_own_name
from shared.database.pagination import Page
from shared.datasets import revisions
from shared.datasets.builtin import BUILTIN_DATASETS
from shared.datasets.info import TargetKind
from shared.errors import FileNotFound, JobNotFound, NameTaken, NotAllowed, ProjectArchived, ProjectNotFound, suggest
from shared.jobs import queries
from shared.spec.dataset import DatasetSpec
from shared.spec.network import NetworkSpec
from shared.spec.preprocessing import Preprocessing
from shared.spec.training import EarlyStopping, ReduceOnPlateau, Resources, TrainingOptions, TrainingSpec

MODEL = re.compile(r"^model: *(\S+)", re.MULTILINE)
"""The name in the text of a spec."""
FIRST_RECIPE = "digits-cnn"
MAX_DATASETS = 200
FINE_TUNING = """model: {model}
dataset:
  name: {dataset}
network:
  from: {model}@{number}
training:
  epochs: 5
"""
HEAD = """model: {name}
dataset:
  name: {dataset}
"""
TEST_PART = "  test: {split: 0.2}  # rows that the training never uses\n"
IMAGES = """network:
  layers:
    - {{layer: Conv2D, filters: 16, kernel_size: 3, activation: relu}}
    - {{layer: MaxPooling2D}}
    - {{layer: Conv2D, filters: 32, kernel_size: 3, activation: relu}}
    - {{layer: MaxPooling2D}}
    - {{layer: Flatten}}
    - {{layer: Dense, units: {width}, activation: {activation}}}
training:
  epochs: 20
"""
TEXTS = """preprocessing:
  text: {{tokenizer: words, vocabulary: 5000, length: 100}}  # `characters` reads Korean better
network:
  layers:
    - {{layer: Embedding, input_dim: 5000, output_dim: 32}}
    - {{layer: Conv1D, filters: 64, kernel_size: 3, activation: relu}}
    - {{layer: GlobalMaxPooling1D}}
    - {{layer: Dropout, rate: 0.5}}
    - {{layer: Dense, units: {width}{activation}}}
training:
  epochs: 10
{loss}"""
TABLE = """preprocessing:
  scale: standardize
network:
  layers:
{flatten}    - {{layer: Dense, units: 32, activation: relu}}
    - {{layer: Dense, units: {width}{activation}}}
training:
  epochs: 50
{loss}"""


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
        groups=group_recipes(recipes.values()),
        datasets=list_dataset_names(),
        dataset=request.args.get("dataset", ""),
        chosen=source,
        text=_give_own_name(text) if source else text,
        projects=list_trainable(),
        data={"source": source, "keys": _list_keys()},
    )


def _give_own_name(text: str) -> str:
    """Add the login to the model of a recipe if the caller cannot publish under its name."""
    found = MODEL.search(text)
    if found is None or services().owners.names_per_user:
        return text
    with contextlib.suppress(NotAllowed, ProjectArchived, ProjectNotFound):  # who may not train is told when it tries
        try:
            with services().sessions() as session:
                objects.check_model_name(session, found[1])
        except NameTaken:
            own_name = make_own_name(found[1], get_caller().login)
            return f"{text[: found.start(1)]}{own_name}{text[found.end(1) :]}"
    return text


def _list_keys() -> dict[str, list[str]]:
    """Return the keys of a spec, under an empty name, and those of each of its parts."""
    parts: dict[str, type[BaseModel]] = {
        "": TrainingSpec,
        "dataset": DatasetSpec,
        "preprocessing": Preprocessing,
        "network": NetworkSpec,
        "training": TrainingOptions,
        "resources": Resources,
        "early_stopping": EarlyStopping,
        "reduce_lr_on_plateau": ReduceOnPlateau,
    }
    return {name: [field.alias or key for key, field in part.model_fields.items()] for name, part in parts.items()}


def list_dataset_names() -> list[str]:
    """List the names of the data sets to choose from: the uploaded ones, and those that are always there."""
    with services().sessions() as session:
        uploaded = [found.name for found in revisions.list_datasets(session, Page(MAX_DATASETS))]
    return [*uploaded, *sorted(BUILTIN_DATASETS)]


def _choose_text() -> tuple[str, str]:
    """Return the text of the editor, and the name of the recipe that it is; empty for another source."""
    if (job_id := request.args.get("job")) is not None:
        return _write_spec_of(job_id), ""
    if (reference := request.args.get("version")) is not None:
        model, _, number = reference.partition("@")
        found = services().get_version(model, number or "latest")
        dataset = found.manifest["lineage"]["spec"].get("dataset", {}).get("name") or "…"
        return FINE_TUNING.format(model=found.model, number=found.number, dataset=dataset), ""
    if (name := request.args.get("dataset")) is not None:
        return _write_spec_for(load_dataset(name).revisions[0]), ""
    recipes = load_recipes()
    name = request.args.get("recipe", FIRST_RECIPE)
    if name not in recipes:
        raise FileNotFound(f"There is no recipe {name[:100]!r}.{suggest(name, recipes)}")
    return recipes[name].text, name


def _write_spec_for(revision: RevisionDocument) -> str:
    """Return a small spec that can be trained on a data set."""
    head = HEAD.format(name=revision.name, dataset=revision.reference)
    if not revision.test_rows:
        head += TEST_PART
    width = len(revision.classes)
    is_several = revision.targets is TargetKind.MULTI_LABEL
    activation = "sigmoid" if is_several else "softmax"
    if revision.kind == "images":
        return head + IMAGES.format(width=max(width, 1), activation=activation if width else "linear")
    flatten = "    - {layer: Flatten}\n" if len(revision.shape) > 1 else ""
    form = TEXTS if revision.kind == "texts" else TABLE
    if width:
        return head + form.format(width=width, activation=f", activation: {activation}", loss="", flatten=flatten)
    return head + form.format(width=1, activation="", loss="  loss: mse\n", flatten=flatten)


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
    yaml.dump(_drop_defaults(spec), buffer)
    return buffer.getvalue()


def _drop_defaults(spec: dict[str, Any]) -> dict[str, Any]:
    """Leave out what is at its default. A spec of an earlier release is shown whole if it is none of today."""
    try:
        return TrainingSpec.model_validate(spec).model_dump(mode="json", by_alias=True, exclude_defaults=True)
    except ValidationError:
        return spec
