"""Define the `dataset` part of a training spec."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from shared.spec.fields import Count, Fraction, Name, SpecPart


class InlineData(SpecPart):
    """Small data inside the spec: one entry of `x` and of `y` for each row."""

    x: Annotated[list[Any], Field(min_length=1, examples=[[[0, 0], [0, 1], [1, 0], [1, 1]]])]
    y: Annotated[list[Any], Field(min_length=1, examples=[[[0], [1], [1], [0]]])]


class ValidationSplit(SpecPart):
    """The rows held back to watch the training: a share drawn by the seed, or a run of rows at one end."""

    split: Fraction | None = None
    stratify: Annotated[bool, Field(strict=True)] = False
    rows: Count | None = None
    from_: Annotated[Literal["start", "end"] | None, Field(alias="from")] = None

    @model_validator(mode="after")
    def _check_one_form(self) -> Self:
        if (self.split is None) == (self.rows is None):
            raise ValueError(
                "Give either `split`, a share such as 0.1, or `rows`, a number, with `from: start` or `end`."
            )
        if self.rows is None and self.from_ is not None:
            raise ValueError("`from` goes with `rows`.")
        if self.rows is not None and self.stratify:
            raise ValueError("`stratify` goes with `split`.")
        return self


class TestSplit(SpecPart):
    """A share of all rows, drawn by the seed, that the training never sees."""

    split: Annotated[float, Field(strict=True, gt=0, lt=1, allow_inf_nan=False)]
    stratify: Annotated[bool, Field(strict=True)] = False


class DatasetSpec(SpecPart):
    name: Annotated[str | None, Field(max_length=200, examples=["mnist"])] = None
    inline: InlineData | None = None
    limit: Annotated[Count | None, Field(description="The first n training rows after shuffling by the seed.")] = None
    validation: ValidationSplit = ValidationSplit(split=0.1)
    classes: Annotated[
        list[Annotated[int, Field(strict=True)] | Name] | None,
        Field(
            min_length=2,
            max_length=1000,
            description="Rows of these classes alone, which are numbered in this order; all if left out.",
            examples=[[0, 1]],
        ),
    ] = None
    test: Annotated[
        TestSplit | None, Field(description="For data that have no test part of their own: none, or a fixed fifth.")
    ] = None

    @field_validator("classes")
    @classmethod
    def _check_each_once(cls, classes: list[int | str] | None) -> list[int | str] | None:
        if classes is not None and len({str(name) for name in classes}) < len(classes):
            raise ValueError("Each class once.")
        return classes

    @model_validator(mode="after")
    def _check_one_source(self) -> Self:
        if (self.name is None) == (self.inline is None):
            raise ValueError("Give either `name` or `inline`.")
        return self
