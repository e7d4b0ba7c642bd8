"""Read and write models, their numbered versions, and candidates: versions that are not published."""

import contextlib
from collections.abc import Sequence

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, lazyload, load_only

from shared.access.visibility import OF_ALL
from shared.database.pagination import Page
from shared.database.tables.base import Document
from shared.database.tables.jobs import Job
from shared.database.tables.registry import Alias, Model, Version, VersionFile
from shared.errors import FileNotFound, ModelNotFound, VersionInUse, VersionNotFound, VersionNotPublished
from shared.references import parse_job_id, parse_version_number

_is_published = Version.number.is_not(None)
_has_versions = select(Version.id).where(Version.model == Model.name, _is_published).exists()
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


def delete_version(session: Session, model: str, reference: str) -> Version:
    """Delete a version by its number, or a candidate by its job. The number is never used again.

    Raises ModelNotFound, VersionNotFound or VersionInUse.
    """
    version = get_version(session, model, reference)
    number = version.number
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
    """Count the published versions of a model."""
    counted = select(func.count()).select_from(Version).where(Version.model == model, _is_published)
    return session.scalars(counted).one()


def list_versions(session: Session, model: str, page: Page) -> list[Version]:
    """List the published versions of a model, newest first. Loads neither manifests nor files."""
    query = (
        select(Version).where(Version.model == model, _is_published).order_by(Version.number.desc()).limit(page.limit)
    )
    query = query.options(lazyload(Version.files))
    if page.after is not None:
        query = query.where(Version.number < page.after[0])
    return list(session.scalars(query))


def list_numbers(session: Session, model: str, limit: int) -> list[int]:
    """List the numbers of the newest versions of a model, the newest first."""
    query = select(Version.number).where(Version.model == model, _is_published)
    query = query.order_by(Version.number.desc()).limit(limit)
    return [number for number in session.scalars(query) if number is not None]


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
    """Get a version by `reference`: a number, `latest`, an alias, or the id of its job, which can be a candidate.

    The manifest can be read only in the session.

    Raises ModelNotFound or VersionNotFound.
    """
    versions = select(Version).where(Version.model == model)
    if reference == LATEST:
        query = versions.where(_is_published).order_by(Version.number.desc()).limit(1)
    elif (job_id := parse_job_id(reference)) is not None:
        query = versions.where(Version.job_id == job_id)
    elif reference.isdecimal():
        query = versions.where(Version.number == parse_version_number(reference))
    else:
        query = versions.join(Alias, (Alias.model == model) & (Alias.number == Version.number))
        query = query.where(Alias.alias == reference)
    version = session.scalars(query).one_or_none()
    if version is None:
        if parse_job_id(reference) is not None:
            raise VersionNotFound(f"No version of {model!r} comes from the job {reference}. Look at the job.")
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
    newest = select(Version.model, func.max(Version.number).label("number")).where(_is_published)
    latest = newest.group_by(Version.model).subquery()
    production = (Alias.model == latest.c.model) & (Alias.alias == PRODUCTION)
    served = select(latest.c.model, func.coalesce(Alias.number, latest.c.number).label("number"))
    served = served.select_from(latest).outerjoin(Alias, production).order_by(latest.c.model).limit(limit)
    found = served.subquery()
    query = select(Version).join(found, (Version.model == found.c.model) & (Version.number == found.c.number))
    options = load_only(Version.id, Version.model, Version.number, Version.job_id), lazyload(Version.files)
    return list(session.scalars(query.order_by(Version.model).options(*options)))


def get_file(version: Version, name: str) -> VersionFile:
    """Get a file of the version by its name. Raises FileNotFound."""
    for file in version.files:
        if file.name == name:
            return file
    names = ", ".join(file.name for file in version.files)
    raise FileNotFound(f"Version {version.reference} of {version.model!r} has no file {name!r}. Its files are {names}.")


def get_of_job(session: Session, job: Job) -> Version:
    """Get the version that a job has stored, with a number or without. Raises VersionNotFound."""
    version = session.scalars(select(Version).where(Version.job_id == job.id)).one_or_none()
    if version is None:
        raise VersionNotFound(f"The job {job.id} is {job.status}, and has no version.")
    return version


def get_number(version: Version) -> int:
    """Return the number of a version. Raises VersionNotPublished for a candidate."""
    if version.number is None:
        raise VersionNotPublished(
            f"The version of the job {version.job_id} is a candidate. Publish it first, with POST "
            f"/api/v1/jobs/{version.job_id}/publication."
        )
    return version.number


def publish_candidate(session: Session, version: Version) -> bool:
    """Give a candidate the next number of its model. Returns whether it had none; a second call changes nothing.

    Of two transactions that publish or delete one candidate, the second waits for the first. Raises VersionNotFound if
    it was deleted.
    """
    locked = select(Version.id, Version.number).where(Version.id == version.id).with_for_update()
    row = session.execute(locked).one_or_none()
    if row is None:
        raise VersionNotFound(f"The version of the job {version.job_id} was deleted just now.")
    if row.number is not None:
        return False
    number = take_next_number(session, version.model)
    session.execute(update(Version).where(Version.id == version.id).values(number=number))
    session.refresh(version, ["number"])
    return True


def reserve_model(session: Session, model: str) -> None:
    """Add the row of a model if there is none, for a version without a number."""
    if session.scalars(select(Model.name).where(Model.name == model), execution_options=OF_ALL).first() is None:
        with contextlib.suppress(IntegrityError), session.begin_nested():  # another transaction may have added it
            session.execute(insert(Model).values(name=model, last_number=0))


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
