"""Models, their versions with metrics and files, and the aliases that point at them."""

from http import HTTPStatus

from flask import Response, url_for
from flask_openapi3 import APIBlueprint, Tag
from sqlalchemy.orm import Session

from api.documents.registry import (
    AliasDocument,
    AliasTarget,
    FileDocument,
    ModelDocument,
    ModelList,
    SelfTest,
    VersionDocument,
    VersionList,
    VersionSummary,
)
from api.http.pagination import PageQuery, next_cursor, page_of
from api.http.paths import AliasPath, FilePath, ModelPath, VersionPath
from api.http.requests import parsed
from api.http.responses import bytes_of, document, problems
from api.services import services
from api.serving.self_test import run_self_test
from shared.database.tables.registry import Model, Version
from shared.errors import (
    AliasNotFound,
    ArtifactDamaged,
    Fault,
    FileNotFound,
    InvalidRequest,
    MalformedRequest,
    ModelNotFound,
    UnsupportedContent,
    VersionInUse,
    VersionNotFound,
)
from shared.references import number_of
from shared.registry import aliases, versions

bp = APIBlueprint("models", __name__, url_prefix="/api/v1/models", abp_tags=[Tag(name="Models")])


@bp.get("", responses={200: ModelList, **problems()})
@parsed
def list_models(query: PageQuery) -> Response:
    """By name."""
    page = page_of(query.limit, query.cursor, (str,))
    with services().sessions() as session:
        found = versions.find_models(session, page)
        documents = [_model_document(session, model) for model in found]
    return document(ModelList(models=documents, next=next_cursor(page, [(model.name,) for model in found])))


@bp.get("/<model>", responses={200: ModelDocument, **problems(ModelNotFound)})
@parsed
def show_model(path: ModelPath) -> Response:
    """Its newest version, its aliases, and how many versions there are."""
    with services().sessions() as session:
        return document(_model_document(session, versions.get_model(session, path.model)))


@bp.get("/<model>/versions", responses={200: VersionList, **problems(ModelNotFound)})
@parsed
def list_versions(path: ModelPath, query: PageQuery) -> Response:
    """The newest first."""
    page = page_of(query.limit, query.cursor, (int,))
    with services().sessions() as session:
        versions.get_model(session, path.model)
        numbers = aliases.find_aliases(session, path.model)
        found = versions.find_versions(session, path.model, page)
    summaries = [VersionSummary.model_validate(_version_values(version, numbers)) for version in found]
    return document(VersionList(versions=summaries, next=next_cursor(page, [(version.number,) for version in found])))


@bp.get("/<model>/versions/<reference>", responses={200: VersionDocument, **problems(ModelNotFound, VersionNotFound)})
@parsed
def show_version(path: VersionPath) -> Response:
    """All that a version says of itself: metrics, preprocessing, classes, signature, where it came from, files."""
    with services().sessions() as session:
        version = versions.get_version(session, path.model, path.reference)
        numbers = aliases.find_aliases(session, path.model)
    files = [
        FileDocument(
            name=file.name,
            size=file.size_bytes,
            sha256=file.sha256,
            href=url_for("models.download_file", model=version.model, reference=version.number, file=file.name),
        )
        for file in version.files
    ]
    return document(VersionDocument.model_validate({**_version_values(version, numbers), "files": files}))


@bp.delete(
    "/<model>/versions/<reference>", responses={204: None, **problems(ModelNotFound, VersionNotFound, VersionInUse)}
)
@parsed
def delete_version(path: VersionPath) -> Response:
    """By its number, which is not given out again; 409 while an alias points at it. What it was made of is swept."""
    if not path.reference.isdecimal():
        detail = f"Version {path.reference!r} may be another in a moment: name the one to delete by its number."
        raise InvalidRequest(detail, (Fault("#/reference", "A whole number."),))
    with services().sessions.begin() as session:
        version = versions.delete_version(session, path.model, number_of(path.reference))
    services().versions.forget(version)
    return Response(status=HTTPStatus.NO_CONTENT)


@bp.get(
    "/<model>/versions/<reference>/self-test", responses={200: SelfTest, **problems(ModelNotFound, VersionNotFound)}
)
@parsed
def test_version(path: VersionPath) -> Response:
    """Replay the golden samples through the path that serves: does it still answer as Keras did?"""
    with services().sessions() as session:
        version = versions.get_version(session, path.model, path.reference)
    return document(run_self_test(version, services().artifacts))


@bp.get(
    "/<model>/versions/<reference>/files/<file>",
    responses={
        200: bytes_of("application/octet-stream", "The file; its ETag is its sha256"),
        **problems(ModelNotFound, VersionNotFound, FileNotFound, ArtifactDamaged),
    },
)
@parsed
def download_file(path: FilePath) -> Response:
    """`model.keras`, `model.weights.h5`, `model.onnx` or `version.json`, checked against its digest."""
    with services().sessions() as session:
        version = versions.get_version(session, path.model, path.reference)
    file = versions.get_file(version, path.file)
    response = Response(services().artifacts.read(file.sha256), content_type="application/octet-stream")
    response.headers["Content-Disposition"] = f'attachment; filename="{file.name}"'
    response.set_etag(file.sha256)
    return response


@bp.put(
    "/<model>/aliases/<alias>",
    responses={200: AliasDocument, **problems(ModelNotFound, VersionNotFound, MalformedRequest, UnsupportedContent)},
)
@parsed
def set_alias(path: AliasPath, body: AliasTarget) -> Response:
    """Point an alias at a version; it moves if it is there."""
    with services().sessions.begin() as session:
        alias = aliases.set_alias(session, path.model, path.alias, body.version)
    services().versions.look_again(path.model)
    return document(AliasDocument(model=alias.model, alias=alias.alias, version=alias.number))


@bp.delete("/<model>/aliases/<alias>", responses={204: None, **problems(AliasNotFound)})
@parsed
def remove_alias(path: AliasPath) -> Response:
    """The version it pointed at stays."""
    with services().sessions.begin() as session:
        aliases.remove_alias(session, path.model, path.alias)
    services().versions.look_again(path.model)
    return Response(status=HTTPStatus.NO_CONTENT)


def _model_document(session: Session, model: Model) -> ModelDocument:
    return ModelDocument(
        name=model.name,
        latest=versions.get_version(session, model.name, versions.LATEST).number,
        versions=versions.count_versions(session, model.name),
        aliases=aliases.find_aliases(session, model.name),
        created_at=model.created_at,
    )


def _version_values(version: Version, numbers: dict[str, int]) -> dict[str, object]:
    return {
        **version.description,
        "model": version.model,
        "version": version.number,
        "aliases": [alias for alias, number in numbers.items() if number == version.number],
        "created_at": version.created_at,
    }
