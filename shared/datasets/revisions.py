"""Read and write uploaded data sets in the database: their names and their revisions, which never change."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from pydantic import TypeAdapter
from sqlalchemy import delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from shared.access.rights import DEFAULT_PROJECT
from shared.access.visibility import OF_ALL
from shared.database.pagination import Page
from shared.database.tables.base import Document
from shared.database.tables.datasets import DatasetName, Revision, RevisionFile
from shared.database.tables.jobs import ENDED, Job
from shared.database.tables.registry import Version
from shared.datasets.builtin import BUILTIN_DATASETS
from shared.datasets.info import DatasetInfo
from shared.datasets.splits import choose_validation
from shared.datasets.uploaded import UploadedDataset
from shared.errors import ArtifactDamaged, DatasetInUse, DatasetNotFound, DatasetUnavailable
from shared.references import parse_version_number
from shared.spec.dataset import DatasetSpec, ValidationDataset
from shared.storage import tracked_files
from shared.storage.artifacts import ArtifactStore, StoredFile

MAX_NAMED = 5
READS = (Job.dataset_revision_id, Job.validation_revision_id)
"""The revisions that a job reads."""
"""The most jobs or versions that an error names."""
_DATASET_INFO = TypeAdapter(DatasetInfo)


def add_revision(
    session: Session, name: str, digest: str, info: DatasetInfo, description: Document, files: Iterable[StoredFile]
) -> tuple[Revision, bool]:
    """Add a revision, unless the data set already has one with this digest. Return it, and whether it is new.

    One that exists gets the warnings of the new description: they tell how the file was read this time.
    Raises tracked_files.FilesCollected.
    """
    number = _take_next_number(session, name)
    existing = session.scalars(select(Revision).where(Revision.dataset == name, Revision.digest == digest))
    if (found := existing.one_or_none()) is not None:
        session.execute(update(DatasetName).where(DatasetName.name == name).values(last_number=number - 1))
        found.description = {**found.description, "warnings": description.get("warnings", [])}
        return found, False
    rows = [RevisionFile(name=file.name, sha256=file.sha256, size_bytes=file.size_bytes) for file in files]
    tracked_files.reference(session, [row.sha256 for row in rows])
    revision = Revision(
        dataset=name,
        number=number,
        digest=digest,
        info=asdict(info),
        description=description,
        files=rows,
    )
    session.add(revision)
    session.flush()
    session.refresh(revision)
    return revision, True


def list_datasets(session: Session, page: Page, project: str | None = None) -> list[DatasetName]:
    """List the data sets of a page that have a revision, ordered by name: those of `project`, or all.

    A session of a request shows only what its caller sees.
    """
    has_revisions = select(Revision.id).where(Revision.dataset == DatasetName.name).exists()
    query = select(DatasetName).where(has_revisions).order_by(DatasetName.name).limit(page.limit)
    if project is not None:
        query = query.where(DatasetName.project == project)
    if page.after is not None:
        query = query.where(DatasetName.name > page.after[0])
    return list(session.scalars(query))


def get_dataset(session: Session, name: str) -> DatasetName:
    """Return an uploaded data set. Raises DatasetNotFound."""
    dataset = session.scalars(select(DatasetName).where(DatasetName.name == name)).one_or_none()
    if dataset is None:
        raise DatasetNotFound(f"There is no data set {name!r}.")
    return dataset


def find_creator(session: Session, name: str) -> tuple[str | None, str]:
    """Return who used the name of a data set first, and its project: nobody and the default one for a new name."""
    query = select(DatasetName.created_by, DatasetName.project).where(DatasetName.name == name)
    row = session.execute(query, execution_options=OF_ALL).one_or_none()
    return (row.created_by, row.project) if row is not None else (None, DEFAULT_PROJECT)


def list_revisions(session: Session, name: str) -> list[Revision]:
    """List the revisions of a data set, the newest first. Raises DatasetNotFound."""
    found = list(session.scalars(select(Revision).where(Revision.dataset == name).order_by(Revision.number.desc())))
    if not found:
        raise DatasetNotFound(f"There is no data set {name!r}.")
    return found


def get_revision(session: Session, reference: str) -> Revision:
    """Return the newest revision for `name`, or the given revision for `name@number`. Raises DatasetNotFound."""
    name, separator, number = reference.partition("@")
    query = select(Revision).where(Revision.dataset == name).order_by(Revision.number.desc()).limit(1)
    if separator:
        query = query.where(Revision.number == parse_version_number(number))
    revision = session.scalars(query).one_or_none()
    if revision is None:
        list_revisions(session, name)
        raise DatasetNotFound(f"Data set {name!r} has no revision {number!r}.")
    return revision


def lock_revision(session: Session, reference: str) -> int:
    """Return the id of a revision, `name@number`, and prevent its deletion until the end of the transaction.

    Raises DatasetNotFound.
    """
    revision = get_revision(session, reference)
    locked = select(Revision.id).where(Revision.id == revision.id).with_for_update(read=True, key_share=True)
    if session.scalars(locked).one_or_none() is None:
        raise DatasetNotFound(f"Data set {reference!r} was deleted just now.")
    return revision.id


def list_for_deletion(session: Session, reference: str) -> list[Revision]:
    """Return all revisions for `name`, or the given one for `name@number`, with locked rows. Raises DatasetNotFound."""
    chosen = [get_revision(session, reference)] if "@" in reference else list_revisions(session, reference)
    query = select(Revision).where(Revision.id.in_([revision.id for revision in chosen])).order_by(Revision.id)
    return list(session.scalars(query.with_for_update()))


def check_not_trained_on(session: Session, chosen: Sequence[Revision]) -> None:
    """Check that no version was trained on these revisions. Raises DatasetInUse, which names some of the versions."""
    query = select(Version.model, Version.number).join(Job, Job.id == Version.job_id)
    ids = [revision.id for revision in chosen]
    query = query.where(or_(*(column.in_(ids) for column in READS)))
    query = query.order_by(Version.model, Version.number).limit(MAX_NAMED + 1)
    found = session.execute(query).all()
    if not found and session.execute(query.limit(1), execution_options=OF_ALL).one_or_none() is not None:
        raise DatasetInUse("Versions of another project were trained on this data. Add `?versions=keep` to delete it.")
    if found:
        names = _join_names([f"{model}/{number or 'candidate'}" for model, number in found])
        raise DatasetInUse(
            f"Versions were trained on this data: {names}. Without it they cannot be reproduced. Delete the versions "
            "first, or add `?versions=keep`."
        )


def delete_revisions(session: Session, chosen: Sequence[Revision]) -> set[str]:
    """Delete revisions, whose numbers are never used again. Returns the digests of their files.

    Raises DatasetInUse, which names some of the jobs, if a job that has not ended reads one of them.
    """
    ids = [revision.id for revision in chosen]
    digests = {file.sha256 for revision in chosen for file in revision.files}
    for column in READS:
        session.execute(update(Job).where(column.in_(ids), Job.status.in_(ENDED)).values({column: None}))
    reads = or_(*(column.in_(ids) for column in READS))
    query = select(Job.id).where(reads).limit(MAX_NAMED + 1)
    if session.scalars(query, execution_options=OF_ALL).first() is not None:
        seen = _join_names(list(map(str, session.scalars(query)))) or "jobs of another project"
        raise DatasetInUse(f"Jobs read this data and have not ended: {seen}. Wait, or cancel them.")
    session.execute(delete(RevisionFile).where(RevisionFile.revision_id.in_(ids)))
    session.execute(delete(Revision).where(Revision.id.in_(ids)))
    return digests


def _join_names(names: list[str]) -> str:
    return ", ".join(names[:MAX_NAMED]) + (", …" if len(names) > MAX_NAMED else "")


def pin_revision(session: Session, spec: DatasetSpec) -> tuple[DatasetSpec, DatasetInfo | None]:
    """Replace the name of an uploaded data set by `name@number`, so that the spec keeps its revision.

    Also fills in the default of `validation`. Returns the new spec and the `DatasetInfo` of the revision, None for
    other data.
    """
    revision = find_spec_revision(session, spec)
    info = to_dataset_info(revision) if revision is not None else None
    pinned: dict[str, object] = {"validation": choose_validation(spec, info)}
    other = find_validation_revision(session, spec)
    if other is not None:
        pinned["validation"] = ValidationDataset(dataset=f"{other.dataset}@{other.number}")
    if revision is not None:
        pinned["name"] = f"{revision.dataset}@{revision.number}"
    return spec.model_copy(update=pinned), info


def open_revision(revision: Revision, artifacts: ArtifactStore, folder: Path) -> UploadedDataset:
    """Return the revision with local paths to its files.

    Copies the files into `folder` if the artifact store is not a local folder. Reads each file once to check its
    digest, which is slow for large files. Raises DatasetUnavailable if a file is missing or damaged.
    """
    try:
        files = {file.name: artifacts.get_local_path(file.sha256, folder) for file in revision.files}
    except ArtifactDamaged as error:
        raise DatasetUnavailable(
            f"Data set {revision.dataset}@{revision.number}: {error.detail} Upload the data set again."
        ) from error
    return UploadedDataset(to_dataset_info(revision), revision.digest, files)


def find_spec_revision(session: Session, spec: DatasetSpec) -> Revision | None:
    """Return the revision that a spec selects; None for data that is not an upload and for an unknown name.

    `describe_dataset` reports the unknown name with its place in the spec.
    """
    if spec.name is None or spec.name in BUILTIN_DATASETS:
        return None
    try:
        return get_revision(session, spec.name)
    except DatasetNotFound:
        return None


def find_validation_revision(session: Session, spec: DatasetSpec) -> Revision | None:
    """Return the revision that `validation` names; None if it names none, and for an unknown name.

    `compute_part_sizes` reports the unknown name with its place in the spec.
    """
    if not isinstance(spec.validation, ValidationDataset):
        return None
    try:
        return get_revision(session, spec.validation.dataset)
    except DatasetNotFound:
        return None


def to_dataset_info(revision: Revision) -> DatasetInfo:
    return _DATASET_INFO.validate_python(revision.info)


def _take_next_number(session: Session, name: str) -> int:
    """Return the next revision number.

    The UPDATE locks the row, so another upload with this name waits until the end of this transaction.
    """
    increment = update(DatasetName).where(DatasetName.name == name).values(last_number=DatasetName.last_number + 1)
    increment = increment.returning(DatasetName.last_number)
    number = session.execute(increment).scalar_one_or_none()
    if number is not None:
        return int(number)
    try:
        with session.begin_nested():
            session.execute(insert(DatasetName).values(name=name, last_number=1))
    except IntegrityError:  # another transaction has inserted the name in the meantime
        return int(session.execute(increment).scalar_one())
    return 1
