"""Define the field types and base classes that the specs share."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

ModelName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,99}$")]
ProjectName = ModelName
PROJECT_TEXT = "The project of a new name. Default: that of the name, else the one that the caller joined first."
Count = Annotated[int, Field(strict=True, ge=1)]
Fraction = Annotated[float, Field(strict=True, ge=0, lt=1, allow_inf_nan=False)]
Pixel = Annotated[int, Field(strict=True, ge=0, le=255)]
MAX_SIDE = 1024
Side = Annotated[int, Field(strict=True, ge=1, le=MAX_SIDE)]
Name = Annotated[str, Field(min_length=1, max_length=100)]
Priority = Annotated[
    int, Field(strict=True, ge=-100, le=100, description="A job with a higher priority starts earlier.")
]


def _describe_keys(schema: dict[str, Any]) -> None:
    """Say the pattern of the keys in `propertyNames`: generators of clients drop what `patternProperties` allows."""
    ((pattern, value),) = schema.pop("patternProperties").items()
    schema |= {"propertyNames": {"pattern": pattern}, "additionalProperties": value}


Tags = Annotated[
    dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9._/-]{1,63}$")], Annotated[str, Field(max_length=255)]],
    Field(max_length=50, examples=[{"course": "2026-fall"}], json_schema_extra=_describe_keys),
]
Notes = Annotated[str, Field(max_length=10_000)]


class SpecPart(BaseModel):
    """Base class for the parts of a spec. It refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class KerasPart(BaseModel):
    """A Keras object by the name of its class. All other keys are arguments of the class; keras.io documents them."""

    model_config = ConfigDict(extra="allow", frozen=True)

    @property
    def arguments(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


Weight = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
