"""Every read and write of the data sets that users bring: names, and revisions that never change."""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from pydantic import TypeAdapter
from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from shared.database.pagination import Page
from shared.database.tables.base import Document
from shared.database.tables.datasets import DatasetName, Revision, RevisionFile
from shared.datasets.builtin import BUILTIN_DATASETS
from shared.datasets.info import DatasetInfo
from shared.datasets.uploaded import UploadedDataset
from shared.errors import ArtifactDamaged, DatasetNotFound, DatasetUnavailable
from shared.references import parse_version_number
from shared.spec.dataset import DatasetSpec
from shared.storage import tracked_files
from shared.storage.artifacts import ArtifactStore, StoredFile

_DATASET_INFO = TypeAdapter(DatasetInfo)


def add_revision(
    session: Session, name: str, digest: str, info: DatasetInfo, description: Document, files: Iterable[StoredFile]
) -> tuple[Revision, bool]:
    """The revision with this content, and whether it is new: the same content twice is one revision.

    Raises tracked_files.FilesCollected.
    """
    number = _take_next_number(session, name)
    existing = session.scalars(select(Revision).where(Revision.dataset == name, Revision.digest == digest))
    if (found := existing.one_or_none()) is not None:
        session.execute(update(DatasetName).where(DatasetName.name == name).values(last_number=number - 1))
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


def list_datasets(session: Session, page: Page) -> list[DatasetName]:
    """In the order of the alphabet."""
    query = select(DatasetName).order_by(DatasetName.name).limit(page.limit)
    if page.after is not None:
        query = query.where(DatasetName.name > page.after[0])
    return list(session.scalars(query))


def list_revisions(session: Session, name: str) -> list[Revision]:
    """Newest first. Raises DatasetNotFound."""
    found = list(session.scalars(select(Revision).where(Revision.dataset == name).order_by(Revision.number.desc())))
    if not found:
        raise DatasetNotFound(f"There is no data set {name!r}.")
    return found


def get_revision(session: Session, reference: str) -> Revision:
    """`name`, for the newest, or `name@revision`. Raises DatasetNotFound."""
    name, separator, number = reference.partition("@")
    query = select(Revision).where(Revision.dataset == name).order_by(Revision.number.desc()).limit(1)
    if separator:
        query = query.where(Revision.number == parse_version_number(number))
    revision = session.scalars(query).one_or_none()
    if revision is None:
        list_revisions(session, name)
        raise DatasetNotFound(f"Data set {name!r} has no revision {number!r}.")
    return revision


def pin_revision(session: Session, choice: DatasetSpec) -> tuple[DatasetSpec, DatasetInfo | None]:
    """With the number of the revision that it means now, and what that holds; as it was for any other data."""
    revision = find_spec_revision(session, choice)
    if revision is None:
        return choice, None
    name = f"{revision.dataset}@{revision.number}"
    return choice.model_copy(update={"name": name}), to_dataset_info(revision)


def open_revision(revision: Revision, artifacts: ArtifactStore, folder: Path) -> UploadedDataset:
    """The revision with its files on this machine, in the folder if need be; takes its time over large ones.

    Raises DatasetUnavailable where they cannot be had.
    """
    try:
        files = {file.name: artifacts.get_local_path(file.sha256, folder) for file in revision.files}
    except ArtifactDamaged as error:
        raise DatasetUnavailable(f"{revision.dataset}@{revision.number}: {error.detail} Upload it again.") from error
    return UploadedDataset(to_dataset_info(revision), revision.digest, files)


def find_spec_revision(session: Session, choice: DatasetSpec) -> Revision | None:
    """None for any other data than an upload, and for names that nobody knows: who reads the facts names the place."""
    if choice.name is None or choice.name in BUILTIN_DATASETS:
        return None
    try:
        return get_revision(session, choice.name)
    except DatasetNotFound:
        return None


def to_dataset_info(revision: Revision) -> DatasetInfo:
    return _DATASET_INFO.validate_python(revision.info)


def _take_next_number(session: Session, name: str) -> int:
    """Counts on in one UPDATE, which also makes another upload to this name wait until this one is done."""
    count_on = update(DatasetName).where(DatasetName.name == name).values(last_number=DatasetName.last_number + 1)
    count_on = count_on.returning(DatasetName.last_number)
    number = session.execute(count_on).scalar_one_or_none()
    if number is not None:
        return int(number)
    try:
        with session.begin_nested():
            session.execute(insert(DatasetName).values(name=name, last_number=1))
    except IntegrityError:  # another's first revision came between
        return int(session.execute(count_on).scalar_one())
    return 1
