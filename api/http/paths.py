"""Define the path parameters that several routes share."""

from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field

from api.charts.kinds import PictureFormat
from shared.registry import versions


def _check_not_latest(alias: str) -> str:
    if alias == versions.LATEST:
        raise ValueError("`latest` always is the newest version: it cannot be set.")
    return alias


AliasName = Annotated[
    str,
    AfterValidator(_check_not_latest),
    Field(
        pattern=r"^[a-z][a-z0-9._-]{0,99}$",
        description="Lower case, and neither a number nor `latest`; `production` is what predictions use",
    ),
]
Reference = Annotated[str, Field(description="A number, `latest` or an alias", max_length=200)]


class ModelPath(BaseModel):
    model: str = Field(max_length=200)


class VersionPath(ModelPath):
    reference: Reference


class FilePath(VersionPath):
    file: str = Field(max_length=200)


class AliasPath(ModelPath):
    alias: AliasName


class VersionPicturePath(VersionPath):
    picture_format: PictureFormat


class DatasetPath(BaseModel):
    name: str = Field(description="`name`, or `name@revision`", max_length=200)


class PreviewPath(DatasetPath):
    picture_format: PictureFormat


class JobPath(BaseModel):
    job_id: UUID


class JobPicturePath(JobPath):
    picture_format: PictureFormat


class LayerPath(VersionPath):
    layer: str


class LayerPicturePath(LayerPath):
    picture_format: PictureFormat
