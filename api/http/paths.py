"""Define the path parameters that several routes share."""

from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field

from api.charts.kinds import PictureFormat
from shared.references import parse_job_id
from shared.registry import versions
from shared.spec.fields import ModelName


def _check_free(alias: str) -> str:
    if alias == versions.LATEST:
        raise ValueError("`latest` always refers to the newest version. Choose another name for the alias.")
    if parse_job_id(alias) is not None:
        raise ValueError("The id of a job always refers to its version. Choose another name for the alias.")
    return alias


AliasName = Annotated[
    str,
    AfterValidator(_check_free),
    Field(
        pattern=r"^[a-z][a-z0-9._-]{0,99}$",
        description=(
            "Lower-case letters, digits, `.`, `_` and `-`, beginning with a letter; not `latest`. "
            "By default, predictions use the version of the alias `production`."
        ),
    ),
]
Reference = Annotated[
    str, Field(description="The version: its number, `latest`, an alias, or the id of its job.", max_length=200)
]


class ModelPath(BaseModel):
    model: str = Field(max_length=200)


class NewModelPath(BaseModel):
    """The path of a model that the request may create."""

    model: ModelName


class VersionPath(ModelPath):
    reference: Reference


class FilePath(VersionPath):
    file: str = Field(max_length=200)


class TilePath(VersionPath):
    index: Annotated[int, Field(ge=0, lt=2**31)]


class AliasPath(ModelPath):
    alias: AliasName


class VersionPicturePath(VersionPath):
    picture_format: PictureFormat


class DatasetPath(BaseModel):
    name: str = Field(description="The data set: `name`, or `name@revision` for one revision.", max_length=200)


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
