"""Define the spec of an import, which makes a version of a model file of another program."""

from collections import Counter
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from shared.spec.fields import ModelName, Name, Notes, Priority, SpecPart, Tags
from shared.spec.network import NetworkSpec
from shared.spec.preprocessing import Preprocessing
from shared.spec.text import MAX_VOCABULARY

MAX_SAMPLES = 64
MAX_CLASSES = 10_000
MIN_SCALE, MAX_SCALE = 1e-30, 1e30
"""Numbers of a scaling stay in the range of float32, also after the division."""


def _check_unique(names: list[str]) -> list[str]:
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise ValueError(f"{twice!r} is in the list twice. Give each output a name of its own.")
    return names


Word = Annotated[str, Field(min_length=1, max_length=100)]
Names = Annotated[list[Name], Field(min_length=1, max_length=MAX_CLASSES), AfterValidator(_check_unique)]
Number = Annotated[float, Field(allow_inf_nan=False)]
ScaleNumber = Annotated[float, Field(ge=-MAX_SCALE, le=MAX_SCALE, allow_inf_nan=False)]


class ArrayPlace(SpecPart):
    """The place of an array in the file.

    Attributes:
        path: the path of the layer, such as `layers/dense/vars`; the name of the layer in an HDF5 file of Keras 2.
        index: the position among the arrays of the layer.
        name: the name of the weight in an HDF5 file of Keras 2, such as `dense/kernel:0`; else empty.
    """

    path: str
    index: int
    name: str = ""


class ImportedFile(SpecPart):
    """The weights of a model file.

    Attributes:
        layout: `paths` is that of `.keras` and `.weights.h5` of Keras 3; `names` that of HDF5 files of Keras 2.
        arrays: the places of the arrays, in the order of the stored file.
    """

    layout: Literal["paths", "names"]
    arrays: tuple[ArrayPlace, ...]


class Samples(SpecPart):
    """Inputs as a client sends them, and what the model answers to them, for the self-test."""

    inputs: Annotated[list[Any], Field(min_length=1, max_length=MAX_SAMPLES)]
    outputs: Annotated[list[list[Number] | Number], Field(min_length=1, max_length=MAX_SAMPLES)]

    @model_validator(mode="after")
    def _check_count(self) -> Self:
        if len(self.inputs) != len(self.outputs):
            raise ValueError(
                f"There are {len(self.inputs)} `inputs` and {len(self.outputs)} `outputs`. Give one output for each."
            )
        if len({len(output) if isinstance(output, list) else 1 for output in self.outputs}) > 1:
            raise ValueError("The `outputs` have different lengths. Send what `model.predict` returns.")
        return self


class Scaling(SpecPart):
    """How values are scaled: (value - offset) / divisor, with one number, or one for each channel or column."""

    offset: Annotated[tuple[ScaleNumber, ...], Field(min_length=1, max_length=100_000)] = (0.0,)
    divisor: Annotated[tuple[ScaleNumber, ...], Field(min_length=1, max_length=100_000)] = (1.0,)

    @model_validator(mode="after")
    def _check_divisor(self) -> Self:
        if any(abs(number) < MIN_SCALE for number in self.divisor):
            raise ValueError(f"`divisor` must not contain 0, or numbers nearer to it than {MIN_SCALE:g}.")
        return self


class ImportMeaning(SpecPart):
    """The meaning of the inputs and outputs of a model."""

    kind: Annotated[
        Literal["images", "numbers", "texts"] | None,
        Field(description="What the inputs are. Default: by the shape of the input; texts if `vocabulary` is given."),
    ] = None
    preprocessing: Annotated[
        Preprocessing, Field(description="As in a training spec. Default of `size`: that of the network's input.")
    ] = Preprocessing()
    scaling: Annotated[
        Scaling | None,
        Field(description="The numbers of `scale: standardize`: the mean and the standard deviation of the training."),
    ] = None
    vocabulary: Annotated[
        Annotated[list[Word], Field(min_length=2, max_length=MAX_VOCABULARY)]
        | Annotated[dict[Word, Annotated[int, Field(strict=True)]], Field(min_length=2, max_length=MAX_VOCABULARY)]
        | None,
        Field(
            description="For texts: the words, of which the first has the index 1; or `word_index` of a Tokenizer.",
        ),
    ] = None
    classes: Annotated[
        Annotated[Names, Field(min_length=2)] | Annotated[int, Field(strict=True, ge=2, le=MAX_CLASSES)] | None,
        Field(description="The classes in the order of the outputs, or their number."),
    ] = None
    labels: Annotated[
        Names | None, Field(description="Labels of which an input can have several, instead of classes.")
    ] = None
    task: Annotated[
        Literal["regression"] | None, Field(description="`regression`: the outputs are numbers, without classes.")
    ] = None
    from_logits: Annotated[
        bool,
        Field(
            strict=True,
            description="The outputs are logits, as a loss with `from_logits=True` takes them: a softmax or a sigmoid "
            "is appended. Those of `samples` are the logits.",
            exclude_if=lambda has_logits: not has_logits,
        ),
    ] = False
    samples: Samples | None = None

    @model_validator(mode="after")
    def _check_outputs(self) -> Self:
        given = [key for key in ("classes", "labels", "task") if getattr(self, key) is not None]
        if len(given) != 1:
            raise ValueError("Give one of `classes`, `labels` and `task: regression`: what the outputs are.")
        if self.from_logits and self.task is not None:
            raise ValueError("`from_logits` is for `classes` and `labels`: numbers have no logits. Remove it.")
        return self


class ImportSpec(SpecPart):
    """The request for an import. `network` and `weights` are read from the file."""

    model: ModelName
    network: NetworkSpec
    file: ImportedFile
    meaning: ImportMeaning
    priority: Priority
    tags: Tags
    notes: Notes
