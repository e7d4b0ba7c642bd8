"""Read and write models and their numbered versions."""

from collections.abc import Sequence

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, lazyload, load_only

from shared.database.pagination import Page
from shared.database.tables.base import Document
from shared.database.tables.registry import Alias, Model, Version, VersionFile
from shared.errors import FileNotFound, ModelNotFound, VersionInUse, VersionNotFound
from shared.references import parse_version_number

_has_versions = select(Version.id).where(Version.model == Model.name).exists()
PRODUCTION = "production"
LATEST = "latest"


def list_models(session: Session, page: Page, project: str | None = None) -> list[Model]:
    """List the models that have a version, ordered by name: those of `project`, or all that the session shows."""
    query = select(Model).where(_has_versions).order_by(Model.name).limit(page.limit)
    if project is not None:
        query = query.where(Model.project == project)
    if page.after is not None:
        query = query.where(Model.name > page.after[0])
    return list(session.scalars(query))


def get_model(session: Session, name: str) -> Model:
    """Get a model that has a version. Raises ModelNotFound."""
    model = session.scalars(select(Model).where(Model.name == name, _has_versions)).one_or_none()
    if model is None:
        raise ModelNotFound(f"There is no model {name!r}. GET /api/v1/models lists the models.")
    return model


def delete_version(session: Session, model: str, number: int) -> Version:
    """Delete a version. Its number is never used again. Raises ModelNotFound, VersionNotFound or VersionInUse."""
    version = get_version(session, model, str(number))
    session.execute(delete(VersionFile).where(VersionFile.version_id == version.id))
    try:
        with session.begin_nested():
            session.execute(delete(Version).where(Version.id == version.id))
    except IntegrityError as error:  # a foreign key, so that an alias moved at the same time counts
        pointing = select(Alias.alias).where(Alias.model == model, Alias.number == number).order_by(Alias.alias)
        names = ", ".join(session.scalars(pointing))
        detail = (
            f"Version {number} of {model!r} cannot be deleted while aliases point at it: "
            f"{names or 'they were moved just now, try again'}. Move or delete the aliases first."
        )
        raise VersionInUse(detail) from error
    return version


def count_versions(session: Session, model: str) -> int:
    return session.scalars(select(func.count()).select_from(Version).where(Version.model == model)).one()


def list_versions(session: Session, model: str, page: Page) -> list[Version]:
    """List the versions of a model, newest first. Loads neither manifests nor files."""
    query = select(Version).where(Version.model == model).order_by(Version.number.desc()).limit(page.limit)
    query = query.options(lazyload(Version.files))
    if page.after is not None:
        query = query.where(Version.number < page.after[0])
    return list(session.scalars(query))


def list_numbers(session: Session, model: str, limit: int) -> list[int]:
    """List the numbers of the newest versions of a model, the newest first."""
    query = select(Version.number).where(Version.model == model).order_by(Version.number.desc()).limit(limit)
    return list(session.scalars(query))


def get_metrics(session: Session, found: Sequence[Version]) -> list[Document]:
    """Get the metrics of versions, without the rest of their manifests."""
    query = select(Version.id, Version.manifest["metrics"].label("metrics")).where(
        Version.id.in_([version.id for version in found])
    )
    metrics = {row.id: row.metrics for row in session.execute(query)}
    return [metrics[version.id] for version in found]


def get_described_version(session: Session, model: str, reference: str) -> Version:
    """Get a version as `get_version` does, with its manifest. Raises ModelNotFound or VersionNotFound."""
    version = get_version(session, model, reference)
    session.refresh(version, ["manifest"])
    return version


def get_version(session: Session, model: str, reference: str) -> Version:
    """Get a version by `reference`: a number, `latest` or an alias. The manifest can be read only in the session.

    Raises ModelNotFound or VersionNotFound.
    """
    versions = select(Version).where(Version.model == model)
    if reference == LATEST:
        query = versions.order_by(Version.number.desc()).limit(1)
    elif reference.isdecimal():
        query = versions.where(Version.number == parse_version_number(reference))
    else:
        query = versions.join(Alias, (Alias.model == model) & (Alias.number == Version.number))
        query = query.where(Alias.alias == reference)
    version = session.scalars(query).one_or_none()
    if version is None:
        get_model(session, model)
        what = f"version {reference}" if reference.isdecimal() else f"alias {reference!r}"
        raise VersionNotFound(
            f"Model {model!r} has no {what}. GET /api/v1/models/<model> shows its latest version and its aliases."
        )
    return version


def get_served_version(session: Session, model: str) -> Version:
    """Get the version that predictions use by default: that of the alias `production`, else the latest.

    Raises ModelNotFound or VersionNotFound.
    """
    alias = session.get(Alias, (model, PRODUCTION))
    return get_version(session, model, PRODUCTION if alias is not None else LATEST)


def list_served_versions(session: Session, limit: int) -> list[Version]:
    """List the version that each model serves, ordered by model name. Loads neither manifests nor files."""
    latest = select(Version.model, func.max(Version.number).label("number")).group_by(Version.model).subquery()
    production = (Alias.model == latest.c.model) & (Alias.alias == PRODUCTION)
    served = select(latest.c.model, func.coalesce(Alias.number, latest.c.number).label("number"))
    served = served.select_from(latest).outerjoin(Alias, production).order_by(latest.c.model).limit(limit)
    found = served.subquery()
    query = select(Version).join(found, (Version.model == found.c.model) & (Version.number == found.c.number))
    options = load_only(Version.id, Version.model, Version.number), lazyload(Version.files)
    return list(session.scalars(query.order_by(Version.model).options(*options)))


def get_file(version: Version, name: str) -> VersionFile:
    """Get a file of the version by its name. Raises FileNotFound."""
    for file in version.files:
        if file.name == name:
            return file
    names = ", ".join(file.name for file in version.files)
    raise FileNotFound(f"Version {version.number} of {version.model!r} has no file {name!r}. Its files are {names}.")


def take_next_number(session: Session, model: str) -> int:
    """Return the next version number of the model, which is created if it does not exist.

    The counter is incremented in one UPDATE, so that two publishers never get the same number.
    """
    increment = update(Model).where(Model.name == model).values(last_number=Model.last_number + 1)
    increment = increment.returning(Model.last_number)
    number = session.execute(increment).scalar_one_or_none()
    if number is not None:
        return int(number)
    try:
        with session.begin_nested():
            session.execute(insert(Model).values(name=model, last_number=1))
    except IntegrityError:  # another transaction created the model meanwhile
        return int(session.execute(increment).scalar_one())
    return 1
