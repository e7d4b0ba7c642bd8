"""List, show and delete models, versions, files and aliases."""

from http import HTTPStatus

from flask import Response, url_for
from flask_openapi3 import APIBlueprint, Tag
from sqlalchemy import update
from sqlalchemy.orm import Session

from api.access import objects
from api.access.needs import needs
from api.documents.registry import (
    AliasDocument,
    AliasTarget,
    FileDocument,
    ModelDocument,
    ModelEdit,
    ModelList,
    SelfTest,
    VersionDocument,
    VersionList,
    VersionSummary,
    format_model,
    format_version,
)
from api.http.pagination import NUMBER_KEY, TEXT_KEY, PageQuery, ProjectQuery, make_next_cursor, parse_page
from api.http.paths import AliasPath, FilePath, ModelPath, VersionPath
from api.http.requests import parse_request
from api.http.responses import describe_bytes, describe_problems, make_download, to_response
from api.services import services
from api.serving.self_test import run_self_test
from shared.access.audit import count_change
from shared.access.rights import Scope
from shared.database.tables.jobs import Job
from shared.database.tables.registry import Model
from shared.errors import (
    AliasNotFound,
    ArtifactDamaged,
    Fault,
    FileNotFound,
    InvalidRequest,
    MalformedRequest,
    ModelNotFound,
    ProjectNotFound,
    RequestTooLarge,
    UnsupportedContent,
    VersionInUse,
    VersionNotFound,
)
from shared.references import parse_job_id
from shared.registry import aliases, versions

bp = APIBlueprint("models", __name__, url_prefix="/api/v1/models", abp_tags=[Tag(name="Models")])


@bp.get("", responses={200: ModelList, **describe_problems()})
@needs(Scope.READ)
@parse_request
def list_models(query: ProjectQuery) -> Response:
    """List the models, ordered by name."""
    page = parse_page(query.limit, query.cursor, TEXT_KEY)
    with services().sessions() as session:
        found = versions.list_models(session, page, query.project)
        documents = [format_model(session, model) for model in found]
    return to_response(ModelList(models=documents, next=make_next_cursor(page, [(model.name,) for model in found])))


@bp.get("/<model>", responses={200: ModelDocument, **describe_problems(ModelNotFound)})
@needs(Scope.READ)
@parse_request
def show_model(path: ModelPath) -> Response:
    """Show a model.

    The document contains the newest version, the number of versions, and the aliases.
    """
    with services().sessions() as session:
        return to_response(format_model(session, versions.get_model(session, path.model)))


@bp.patch(
    "/<model>",
    responses={
        200: ModelDocument,
        **describe_problems(ModelNotFound, ProjectNotFound, MalformedRequest, RequestTooLarge, UnsupportedContent),
    },
)
@needs(Scope.MANAGE)
@parse_request
def edit_model(path: ModelPath, body: ModelEdit) -> Response:
    """Describe a model, let everybody ask it for predictions, or move it to another project."""
    with services().sessions.begin() as session:
        model = versions.get_model(session, path.model)
        if body.description is not None:
            objects.record(session, "model-described", "model", path.model)
            model.description = body.description
        if body.predictions is not None and body.predictions != model.predictions:
            before, after = {"predictions": model.predictions}, {"predictions": body.predictions}
            objects.record(session, "model-edited", "model", path.model, before, after)
            count_change(session)  # what processes remember of it ends
            model.predictions = body.predictions
        if body.project is not None and body.project != model.project:
            _move(session, model, body.project)
        session.flush()
        document = format_model(session, model)
    services().gate.forget()
    return to_response(document)


@bp.get("/<model>/versions", responses={200: VersionList, **describe_problems(ModelNotFound)})
@needs(Scope.READ)
@parse_request
def list_versions(path: ModelPath, query: PageQuery) -> Response:
    """List the versions of a model, newest first."""
    page = parse_page(query.limit, query.cursor, NUMBER_KEY)
    with services().sessions() as session:
        versions.get_model(session, path.model)
        numbers = aliases.list_aliases(session, path.model)
        found = versions.list_versions(session, path.model, page)
        metrics = versions.get_metrics(session, found)
    summaries = [
        VersionSummary.model_validate(format_version(version, numbers, {"metrics": measured}))
        for version, measured in zip(found, metrics, strict=True)
    ]
    return to_response(
        VersionList(versions=summaries, next=make_next_cursor(page, [(version.number,) for version in found]))
    )


@bp.get(
    "/<model>/versions/<reference>",
    responses={200: VersionDocument, **describe_problems(ModelNotFound, VersionNotFound)},
)
@needs(Scope.READ)
@parse_request
def show_version(path: VersionPath) -> Response:
    """Show a version.

    The document contains its metrics, classes, preprocessing, signature, lineage and files.
    """
    with services().sessions() as session:
        version = versions.get_described_version(session, path.model, path.reference)
        numbers = aliases.list_aliases(session, path.model)
    files = [
        FileDocument(
            name=file.name,
            size=file.size_bytes,
            sha256=file.sha256,
            href=url_for("models.download_file", model=version.model, reference=version.reference, file=file.name),
        )
        for file in version.files
    ]
    return to_response(
        VersionDocument.model_validate({**format_version(version, numbers, version.manifest), "files": files})
    )


@bp.delete(
    "/<model>/versions/<reference>",
    responses={204: None, **describe_problems(ModelNotFound, VersionNotFound, VersionInUse)},
)
@needs(Scope.MANAGE)
@parse_request
def delete_version(path: VersionPath) -> Response:
    """Delete a version.

    `reference` must be the number of the version, or the id of the job of a candidate. No later version gets this
    number.
    A version that an alias points to cannot be deleted (status 409).
    Files that nothing else references are deleted later.
    """
    if not path.reference.isdecimal() and parse_job_id(path.reference) is None:
        detail = f"{path.reference!r} is not the number of a version. Delete a version by its number."
        raise InvalidRequest(detail, (Fault("#/reference", "Must be an integer, or the id of a job."),))
    with services().sessions.begin() as session:
        version = versions.delete_version(session, path.model, path.reference)
        objects.record(session, "version-deleted", "version", f"{version.model}/{version.reference}")
    services().model_cache.evict(version)
    return Response(status=HTTPStatus.NO_CONTENT)


@bp.get(
    "/<model>/versions/<reference>/self-test",
    responses={200: SelfTest, **describe_problems(ModelNotFound, VersionNotFound)},
)
@needs(Scope.READ)
@parse_request
def test_version(path: VersionPath) -> Response:
    """Run the self-test of a version.

    It reads the files of the version, predicts the golden samples, and compares the outputs with those of Keras.
    If the test fails, the status is 200 and `passed` is false.
    """
    with services().sessions() as session:
        version = versions.get_version(session, path.model, path.reference)
    return to_response(run_self_test(version, services().artifacts))


@bp.get(
    "/<model>/versions/<reference>/files/<file>",
    responses={
        200: describe_bytes("application/octet-stream", "The file. Its ETag is its sha256."),
        **describe_problems(ModelNotFound, VersionNotFound, FileNotFound, ArtifactDamaged),
    },
)
@needs(Scope.READ)
@parse_request
def download_file(path: FilePath) -> Response:
    """Download a file of a version.

    `file` is one of the names that the document of the version lists, such as `model.keras` or `model.onnx`.
    The content is checked against its sha256.
    """
    with services().sessions() as session:
        version = versions.get_version(session, path.model, path.reference)
    file = versions.get_file(version, path.file)
    return make_download(
        services().artifacts.open(file.sha256), file.sha256, file.size_bytes, file.name, "application/octet-stream"
    )


@bp.put(
    "/<model>/aliases/<alias>",
    responses={
        200: AliasDocument,
        **describe_problems(ModelNotFound, VersionNotFound, MalformedRequest, UnsupportedContent),
    },
)
@needs(Scope.MANAGE)
@parse_request
def set_alias(path: AliasPath, body: AliasTarget) -> Response:
    """Set an alias of a model.

    The alias is created, or moved if it points to another version.
    """
    with services().sessions.begin() as session:
        before = aliases.list_aliases(session, path.model).get(path.alias)
        alias = aliases.set_alias(session, path.model, path.alias, body.version)
        objects.record(
            session,
            "alias-moved",
            "alias",
            f"{alias.model}@{alias.alias}",
            before={"version": before} if before is not None else None,
            after={"version": alias.number},
        )
    services().model_cache.invalidate(path.model)
    return to_response(AliasDocument(model=alias.model, alias=alias.alias, version=alias.number))


@bp.delete("/<model>/aliases/<alias>", responses={204: None, **describe_problems(AliasNotFound)})
@needs(Scope.MANAGE)
@parse_request
def delete_alias(path: AliasPath) -> Response:
    """Delete an alias.

    The version that it points to is kept.
    """
    with services().sessions.begin() as session:
        before = aliases.list_aliases(session, path.model).get(path.alias)
        aliases.delete_alias(session, path.model, path.alias)
        objects.record(session, "alias-deleted", "alias", f"{path.model}@{path.alias}", before={"version": before})
    services().model_cache.invalidate(path.model)
    return Response(status=HTTPStatus.NO_CONTENT)


def _move(session: Session, model: Model, name: str) -> None:
    """Move a model with its jobs to another project. Raises NotAllowed or ProjectNotFound."""
    project = objects.choose_new_project(session, name)
    objects.record(session, "model-edited", "model", model.name, {"project": model.project}, {"project": project})
    count_change(session)
    model.project = project
    session.execute(update(Job).where(Job.model == model.name).values(project=project))
