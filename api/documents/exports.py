"""Define the documents about exports of a version."""

from uuid import UUID

from pydantic import Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.documents.base import Document
from shared.database.tables.jobs import Job, JobKind, JobStatus
from shared.database.tables.registry import Version
from shared.registry.exports import ExportResult
from shared.spec.export import FILE_NAMES, NOT_FOR_TEXTS, ExportFormat


class ExportDocument(Document):
    """A format of another system, and the file of the version in it."""

    format: ExportFormat
    file: str = Field(description="The name of the file that an export adds to the version.")
    path: str | None = Field(description="The path of the file; null if the version has no such file yet.")
    size_bytes: int | None
    sha256: str | None
    job: UUID | None = Field(description="The newest job of this export; null if there is none.")
    status: JobStatus | None = Field(description="The status of that job.")
    result: ExportResult | None = Field(description="What the job has measured; null until it succeeds.")


class ExportList(Document):
    """All formats to which a version can be exported."""

    exports: list[ExportDocument]


def list_exports(session: Session, version: Version) -> ExportList:
    """List the formats with the files of a version, which has its manifest, and the newest jobs."""
    of_version = Job.kind == JobKind.EXPORT, Job.model == version.model
    query = select(Job).where(*of_version, Job.spec["version"].as_integer() == version.number)
    jobs = {job.spec["format"]: job for job in session.scalars(query.order_by(Job.created_at))}
    files = {file.name: file for file in version.files}
    exports = []
    for export_format, name in FILE_NAMES.items():
        if export_format in NOT_FOR_TEXTS and version.manifest["preprocessing"]["kind"] == "texts":
            continue
        job, file = jobs.get(export_format), files.get(name)
        path = f"/api/v1/models/{version.model}/versions/{version.reference}/files/{name}"
        exports.append(
            ExportDocument(
                format=export_format,
                file=name,
                path=path if file is not None else None,
                size_bytes=file.size_bytes if file is not None else None,
                sha256=file.sha256 if file is not None else None,
                job=job.id if job is not None else None,
                status=JobStatus(job.status) if job is not None else None,
                result=ExportResult.model_validate(job.export) if job is not None and job.export else None,
            )
        )
    return ExportList(exports=exports)
