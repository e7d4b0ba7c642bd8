"""Show the catalog: everything that a spec can name, and what losses, metrics and activations compute."""

from typing import Annotated, Any

from flask import Response, url_for
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from api.access.needs import needs
from api.charts import drawings
from api.charts.kinds import Drawing, PictureFormat
from api.charts.response import PICTURE, PictureQuery, make_picture_response
from api.documents.operations import (
    ActivationDocument,
    ActivationList,
    LossDocument,
    LossList,
    MetricDocument,
    MetricList,
)
from api.http.requests import parse_request
from api.http.responses import describe_problems, to_response
from api.planner.catalog import Catalog
from api.planner.explanations import Explanation, read_explanations
from api.planner.messages import LossRequest, LossValue
from api.services import services
from shared.access.rights import Scope
from shared.errors import FileNotFound, InvalidRequest, PlanningUnavailable, suggest
from shared.version import VERSION

MAX_ROWS = 10_000
MAX_NUMBERS = 100_000
LOGARITHMIC = frozenset(
    """
    binary_crossentropy binary_focal_crossentropy categorical_crossentropy categorical_focal_crossentropy kl_divergence
    sparse_categorical_crossentropy
    """.split()
)
"""Losses that are logarithms of the outputs, so that another base divides them by a number."""

bp = APIBlueprint("catalog", __name__, url_prefix="/api/v1/catalog", abp_tags=[Tag(name="Catalog")])

Row = Annotated[list[FiniteFloat], Field(min_length=1, max_length=MAX_NUMBERS)]
Rows = Annotated[list[Row] | list[FiniteFloat], Field(min_length=1, max_length=MAX_ROWS)]


class EntryPath(BaseModel):
    name: str = Field(max_length=100)


class EntryPicturePath(EntryPath):
    picture_format: PictureFormat


class LossBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    y_true: Rows = Field(
        description="The labels: a number for each row, or a list of them. Class indices for the sparse losses.",
        examples=[[[1], [0], [0], [1]]],
    )
    y_pred: Rows = Field(
        description="The outputs, in the same form. Probabilities where the loss needs them.",
        examples=[[[0.8], [0.3], [0.5], [0.9]]],
    )
    arguments: dict[str, Any] = Field(default={}, description="The arguments of the loss, as in a spec.", max_length=20)
    log_base: float | None = Field(
        default=None,
        gt=1,
        le=100,
        description="Base of the logarithms of crossentropies and of `kl_divergence`. Default: the natural logarithm, "
        "as in a training.",
    )


@bp.get("", responses={200: Catalog, **describe_problems(PlanningUnavailable)})
@needs(Scope.READ)
@parse_request
def show_catalog() -> Response:
    """List everything that a spec can name.

    The catalog contains the layers, optimizers, losses, metrics and further classes of Keras, with their arguments.
    It also contains the built-in data sets.
    """
    return to_response(services().planner.get_catalog())


@bp.get("/losses", responses={200: LossList})
@needs(Scope.READ)
@parse_request
def list_losses() -> Response:
    """List the losses, each with its formula and when to use it."""
    return to_response(LossList(losses=[_format_loss(name) for name in read_explanations("losses")]))


@bp.get("/losses/<name>", responses={200: LossDocument, **describe_problems(FileNotFound)})
@needs(Scope.READ)
@parse_request
def show_loss(path: EntryPath) -> Response:
    """Show the formula of a loss, and when to use it."""
    _find("losses", path.name)
    return to_response(_format_loss(path.name))


@bp.post(
    "/losses/<name>",
    responses={200: LossValue, **describe_problems(FileNotFound, InvalidRequest, PlanningUnavailable)},
)
@needs(Scope.READ)
@parse_request
def compute_loss(path: EntryPath, body: LossBody) -> Response:
    """Compute a loss of given labels and outputs, as a training computes it: the mean, and that of each row."""
    _find("losses", path.name)
    _check_body(path.name, body)
    loss_request = LossRequest(name=path.name, **body.model_dump())
    return to_response(services().planner.compute_loss(loss_request))


@bp.get("/metrics", responses={200: MetricList})
@needs(Scope.READ)
@parse_request
def list_metrics() -> Response:
    """List the metrics, each with its formula and when to use it."""
    return to_response(MetricList(metrics=[_format_metric(name) for name in read_explanations("metrics")]))


@bp.get("/metrics/<name>", responses={200: MetricDocument, **describe_problems(FileNotFound)})
@needs(Scope.READ)
@parse_request
def show_metric(path: EntryPath) -> Response:
    """Show the formula of a metric, and when to use it."""
    _find("metrics", path.name)
    return to_response(_format_metric(path.name))


@bp.get("/activations", responses={200: ActivationList})
@needs(Scope.READ)
@parse_request
def list_activations() -> Response:
    """List the activations, each with its formula, when to use it, and its picture."""
    return to_response(
        ActivationList(activations=[_format_activation(name) for name in read_explanations("activations")])
    )


@bp.get(
    "/activations/<name>.<picture_format>",
    responses={200: PICTURE, **describe_problems(FileNotFound, PlanningUnavailable)},
)
@needs(Scope.READ)
@parse_request
def draw_activation(path: EntryPicturePath, query: PictureQuery) -> Response:
    """Draw an activation and its derivative for inputs from -5 to 5."""
    explanation = _find("activations", path.name)

    def make() -> Drawing:
        curve = services().planner.sample_activation(path.name)
        return drawings.draw_function(path.name, explanation.formula, curve.x, curve.y, curve.slopes)

    content = ("activation", path.name, VERSION)
    return make_picture_response(services().pictures, path.picture_format, query, content, make)


def _find(kind: str, name: str) -> Explanation:
    known = read_explanations(kind)
    if name not in known:
        raise FileNotFound(
            f"There is no {name[:100]!r} among the {kind}.{suggest(name, known)} They are {', '.join(known)}."
        )
    return known[name]


def _check_body(name: str, body: LossBody) -> None:
    """Raise InvalidRequest for too many numbers, or for a base that a loss without logarithms does not have."""
    for key, rows in (("y_true", body.y_true), ("y_pred", body.y_pred)):
        if sum(len(row) if isinstance(row, list) else 1 for row in rows) > MAX_NUMBERS:
            raise InvalidRequest(f"`{key}` has more than {MAX_NUMBERS:,} numbers, the limit. Send fewer rows.")
    if body.log_base is not None and name not in LOGARITHMIC:
        raise InvalidRequest(f"{name} is no logarithm of the outputs. Remove `log_base`.")


def _format_loss(name: str) -> LossDocument:
    return LossDocument(name=name, **read_explanations("losses")[name].model_dump())


def _format_metric(name: str) -> MetricDocument:
    return MetricDocument(name=name, **read_explanations("metrics")[name].model_dump())


def _format_activation(name: str) -> ActivationDocument:
    return ActivationDocument(
        name=name,
        **read_explanations("activations")[name].model_dump(),
        picture=url_for("catalog.draw_activation", name=name, picture_format=PictureFormat.SVG.value),
    )
