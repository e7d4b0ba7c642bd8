"""Define the `dataset` part of a training spec."""

from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from shared.spec.fields import Count, Fraction, Name, SpecPart

MAX_FOLDS = 20


class InlineData(SpecPart):
    """Small data inside the spec. Each row has one entry in `x` and one entry in `y`.

    An entry of `x` is a number or nested lists of numbers, such as an image [height, width, channels]. An entry of `y`
    is a number, a class name or a list of numbers. `sample_weight` is the weight of each row in the loss.
    """

    x: Annotated[list[Any], Field(min_length=1, examples=[[[0, 0], [0, 1], [1, 0], [1, 1]]])]
    y: Annotated[list[Any], Field(min_length=1, examples=[[[0], [1], [1], [0]]])]
    sample_weight: Annotated[
        list[Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]] | None,
        Field(examples=[[1, 1, 1, 2.5]], exclude_if=lambda weights: weights is None),
    ] = None


class StoredInlineData(SpecPart):
    """Inline data of an earlier job, which are in a file because they are large. The job shows this in their place."""

    sha256: Annotated[
        str, Field(pattern=r"^[0-9a-f]{64}$", description="The sha256 of the file, as the earlier job shows it.")
    ]


# The tags of unions are in the places of faults. They are names of classes, which no document has as a key.


def _choose_form(value: object) -> str:
    is_stored = isinstance(value, StoredInlineData) or (isinstance(value, dict) and "sha256" in value)
    return StoredInlineData.__name__ if is_stored else InlineData.__name__


Inline = Annotated[
    Annotated[InlineData, Tag(InlineData.__name__)] | Annotated[StoredInlineData, Tag(StoredInlineData.__name__)],
    Discriminator(_choose_form),
]


class ValidationSplit(SpecPart):
    """The validation rows. They are taken from the training rows and monitor the training.

    `split` is a fraction of the training rows; these rows are drawn with the random seed. `stratify` keeps the
    proportions of the classes. `rows` is a number of rows and replaces `split`. With `from`, these rows come from the
    `start` or the `end` of the training rows. Default of `from`: `end`.
    """

    split: Fraction | None = None
    stratify: Annotated[bool, Field(strict=True)] = False
    rows: Count | None = None
    from_: Annotated[Literal["start", "end"] | None, Field(alias="from")] = None

    @model_validator(mode="after")
    def _check_one_form(self) -> Self:
        if (self.split is None) == (self.rows is None):
            raise ValueError(
                "Give either `split`, a fraction such as 0.1, or `rows`, a number of rows. `from` is `start` or `end`."
            )
        if self.rows is None and self.from_ is not None:
            raise ValueError("`from` can only be used with `rows`.")
        if self.rows is not None and self.stratify:
            raise ValueError("`stratify` can only be used with `split`.")
        return self


class ValidationFolds(SpecPart):
    """A cross-validation: the training rows are drawn into `folds` parts of equal size, with the random seed.

    Each of as many jobs trains on all parts but one, its `fold`, and is measured on this one. `stratify` keeps the
    proportions of the classes. With `fold`, only this part is left out, in one job.
    """

    folds: Annotated[int, Field(strict=True, ge=2, le=MAX_FOLDS)]
    fold: Annotated[int, Field(strict=True, ge=1, description="Default: each in turn.")] | None = None
    stratify: Annotated[bool, Field(strict=True)] = False

    @model_validator(mode="after")
    def _check_fold(self) -> Self:
        if self.fold is not None and self.fold > self.folds:
            raise ValueError(f"`fold` is {self.fold}, and there are {self.folds}. Leave it out for all of them.")
        return self


class ValidationDataset(SpecPart):
    """All rows of another uploaded data set, such as `flowers-2025@2`, monitor the training."""

    dataset: Annotated[str, Field(min_length=1, max_length=200, examples=["flowers-2025@2"])]


NAMED = "NamedPart"


def _choose_validation_form(value: object) -> str:
    if isinstance(value, str):
        return NAMED
    if isinstance(value, ValidationDataset) or (isinstance(value, dict) and "dataset" in value):
        return ValidationDataset.__name__
    is_folds = isinstance(value, ValidationFolds) or (isinstance(value, dict) and "folds" in value)
    return ValidationFolds.__name__ if is_folds else ValidationSplit.__name__


Validation = Annotated[
    Annotated[ValidationDataset, Tag(ValidationDataset.__name__)]
    | Annotated[ValidationFolds, Tag(ValidationFolds.__name__)]
    | Annotated[ValidationSplit, Tag(ValidationSplit.__name__)]
    | Annotated[Literal["part", "test"], Tag(NAMED)],
    Discriminator(_choose_validation_form),
]


class TestSplit(SpecPart):
    """The test rows, which the training never uses.

    `split` is a fraction of all rows; they are drawn with the random seed. `stratify` keeps the proportions of the
    classes.
    """

    split: Annotated[float, Field(strict=True, gt=0, lt=1, allow_inf_nan=False)]
    stratify: Annotated[bool, Field(strict=True)] = False


class DatasetSpec(SpecPart):
    """The data of a training: `name`, the name of a built-in or an uploaded data set, or `inline`, the data itself.

    For an uploaded data set, `flowers` is its newest revision and `flowers@2` is revision 2.
    """

    name: Annotated[str | None, Field(max_length=200, examples=["mnist"])] = None
    inline: Inline | None = None
    limit: Annotated[
        Count | None,
        Field(description="Number of training rows to use, after shuffling them with the random seed. Default: all."),
    ] = None
    validation: Annotated[
        Validation | None,
        Field(
            description="The rows that monitor the training: `part` is the validation part that the data set has, "
            "`test` is its test part, and an object takes rows from the training part, names another data set, or "
            "asks for a cross-validation. Default: the validation part, or a tenth of the training rows if there is "
            "none.",
            examples=[{"split": 0.2}],
        ),
    ] = None
    classes: Annotated[
        list[Annotated[int, Field(strict=True)] | Name] | None,
        Field(
            min_length=2,
            max_length=1000,
            description="The classes to use. Their order determines the class indices, from 0. Default: all classes.",
            examples=[[0, 1]],
        ),
    ] = None
    test: Annotated[
        TestSplit | None,
        Field(
            description="Only for data without its own test part. Default: a fixed fifth of the rows of a scikit-learn "
            "data set, no test rows for other data."
        ),
    ] = None

    @field_validator("classes")
    @classmethod
    def _check_each_once(cls, classes: list[int | str] | None) -> list[int | str] | None:
        if classes is not None and len({str(name) for name in classes}) < len(classes):
            raise ValueError("A class is in the list twice. List each class once.")
        return classes

    @model_validator(mode="after")
    def _check_one_source(self) -> Self:
        if (self.name is None) == (self.inline is None):
            raise ValueError("Give either `name` or `inline`.")
        return self
