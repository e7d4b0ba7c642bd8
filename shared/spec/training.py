"""The training spec: one document that says everything about a training. Unknown keys are refused."""

import json
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from shared.devices import Device

MAX_LAYERS = 500  # Keras follows a network layer by layer, by recursion

ModelName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,99}$")]
Count = Annotated[int, Field(strict=True, ge=1)]
Fraction = Annotated[float, Field(strict=True, ge=0, lt=1, allow_inf_nan=False)]
Pixel = Annotated[int, Field(strict=True, ge=0, le=255)]
Side = Annotated[int, Field(strict=True, ge=1, le=1024)]
Name = Annotated[str, Field(min_length=1, max_length=100)]
Priority = Annotated[int, Field(strict=True, ge=-100, le=100, description="The higher, the sooner.")]
Tags = Annotated[
    dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9._/-]{1,63}$")], Annotated[str, Field(max_length=255)]],
    Field(max_length=50, examples=[{"course": "2026-fall"}]),
]
Notes = Annotated[str, Field(max_length=10_000)]


class SpecPart(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class InlineData(SpecPart):
    """Small data inside the spec: one entry of `x` and of `y` for each row."""

    x: Annotated[list[Any], Field(min_length=1, examples=[[[0, 0], [0, 1], [1, 0], [1, 1]]])]
    y: Annotated[list[Any], Field(min_length=1, examples=[[[0], [1], [1], [0]]])]


class Validation(SpecPart):
    """The rows held back to watch the training: a share drawn by the seed, or a run of rows at one end."""

    split: Fraction | None = None
    stratify: Annotated[bool, Field(strict=True)] = False
    rows: Count | None = None
    from_: Annotated[Literal["start", "end"] | None, Field(alias="from")] = None

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if (self.split is None) == (self.rows is None):
            raise ValueError(
                "Give either `split`, a share such as 0.1, or `rows`, a number, with `from: start` or `end`."
            )
        if self.rows is None and self.from_ is not None:
            raise ValueError("`from` goes with `rows`.")
        if self.rows is not None and self.stratify:
            raise ValueError("`stratify` goes with `split`.")
        return self


class Test(SpecPart):
    """A share of all rows, drawn by the seed, that the training never sees."""

    split: Annotated[float, Field(strict=True, gt=0, lt=1, allow_inf_nan=False)]
    stratify: Annotated[bool, Field(strict=True)] = False


class DatasetChoice(SpecPart):
    name: Annotated[str | None, Field(max_length=200, examples=["mnist"])] = None
    inline: InlineData | None = None
    limit: Annotated[Count | None, Field(description="The first n training rows after shuffling by the seed.")] = None
    validation: Validation = Validation(split=0.1)
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
        Test | None, Field(description="For data that have no test part of their own: none, or a fixed fifth.")
    ] = None

    @field_validator("classes")
    @classmethod
    def _each_once(cls, classes: list[int | str] | None) -> list[int | str] | None:
        if classes is not None and len({str(name) for name in classes}) < len(classes):
            raise ValueError("Each class once.")
        return classes

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.name is None) == (self.inline is None):
            raise ValueError("Give either `name` or `inline`.")
        return self


class Interpolation(StrEnum):
    NEAREST = "nearest"
    LINEAR = "linear"
    CUBIC = "cubic"
    AREA = "area"
    LANCZOS = "lanczos"


class Fit(StrEnum):
    STRETCH = "stretch"
    PAD = "pad"
    CROP = "crop"
    MNIST = "mnist"


class Scale(StrEnum):
    NONE = "none"
    UNIT = "unit"
    SIGNED = "signed"
    STANDARDIZE = "standardize"


class Color(StrEnum):
    GRAYSCALE = "grayscale"
    RGB = "rgb"


class Invert(StrEnum):
    NEVER = "never"
    ALWAYS = "always"
    AUTO = "auto"


class Preprocessing(SpecPart):
    """How an image, or a row of numbers, becomes the network's input; serving repeats it exactly."""

    size: Annotated[
        tuple[Side, Side] | Literal["data"] | None, Field(description="[height, width]; 32×32 if left out.")
    ] = None
    color: Annotated[Color | None, Field(description="What the data is, if left out.")] = None
    interpolation: Interpolation | None = None
    fit: Fit | None = None
    background: Annotated[
        Pixel | tuple[Pixel, Pixel, Pixel] | None,
        Field(
            description="Behind transparent pixels and around padded ones: a level, or red, green, blue; 0 if left out."
        ),
    ] = None
    scale: Annotated[Scale | None, Field(description="`unit` for images, `none` for numbers, if left out.")] = None
    invert: Invert | None = None


class KerasPart(BaseModel):
    """Something of Keras by its class name; every other key is an argument of that class, as keras.io documents it."""

    model_config = ConfigDict(extra="allow", frozen=True)

    @property
    def arguments(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class LayerSpec(KerasPart):
    """`Residual` is our own: its `layers`, and a way around them that is added to what they make."""

    layer: Annotated[Name, Field(examples=["Dense"])]
    layers: Annotated[
        list["LayerSpec"] | None,
        Field(min_length=1, description="For `Residual`.", exclude_if=lambda layers: layers is None),
    ] = None

    @model_validator(mode="after")
    def _layers_are_for_residual(self) -> Self:
        if (self.layers is None) == (self.layer == "Residual"):
            raise ValueError("`layers` goes with `layer: Residual`, and with no other.")
        return self

    def count(self) -> int:
        """Of the layers that it stands for."""
        return 1 + sum(layer.count() for layer in self.layers or ())


class Network(SpecPart):
    """`layers`, one after the other; or `keras`, what `model.to_json()` prints of a network in Keras; or `from`, a
    version whose network and weights to start from.
    """

    layers: Annotated[list[LayerSpec] | None, Field(min_length=1, max_length=MAX_LAYERS)] = None
    keras: Annotated[
        dict[str, Any] | None, Field(examples=[{"class_name": "Sequential", "config": {"layers": []}}])
    ] = None
    from_: Annotated[
        str | None,
        Field(
            alias="from",
            pattern=r"^[a-z0-9][a-z0-9._-]{0,99}(@[a-z0-9._-]{1,100})?$",
            description="`model@number`, `model@alias`, or `model` for the version that it serves.",
            examples=["mnist-cnn@production"],
        ),
    ] = None
    freeze: Annotated[
        tuple[Name, ...],
        Field(
            max_length=MAX_LAYERS,
            description="With `from`: layers that keep their weights, by name or by a pattern such as `conv2d*`.",
        ),
    ] = ()

    @field_validator("layers")
    @classmethod
    def _not_too_many(cls, layers: list[LayerSpec] | None) -> list[LayerSpec] | None:
        if (count := sum(layer.count() for layer in layers or ())) > MAX_LAYERS:
            raise ValueError(f"{count} layers with those inside of others, where {MAX_LAYERS} are the limit.")
        return layers

    @field_validator("keras", mode="before")
    @classmethod
    def _as_printed(cls, value: object) -> object:
        """`to_json()` answers a string: it may stand as it is."""
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"Not JSON: {error}") from None

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if sum(form is not None for form in (self.layers, self.keras, self.from_)) != 1:
            raise ValueError("Give one of `layers`, `keras` and `from`.")
        if self.freeze and self.from_ is None:
            raise ValueError("`freeze` goes with `from`.")
        return self


class OptimizerSpec(KerasPart):
    name: Annotated[Name, Field(examples=["SGD"])]

    @model_validator(mode="before")
    @classmethod
    def _by_name_alone(cls, value: object) -> object:
        return {"name": value} if isinstance(value, str) else value


class ScheduleSpec(KerasPart):
    """`initial_learning_rate` is the optimizer's, and `decay_steps` all steps of the training, if left out."""

    name: Annotated[Name, Field(examples=["CosineDecay"])]


class EarlyStopping(SpecPart):
    """Ends the training when nothing has improved by more than `min_delta` for more than `patience` epochs."""

    monitor: Name = "val_loss"
    patience: Annotated[int, Field(strict=True, ge=0)] = 0
    min_delta: Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)] = 0.0
    mode: Literal["auto", "min", "max"] = "auto"
    start_from_epoch: Annotated[int, Field(strict=True, ge=0)] = 0
    restore_best: Annotated[
        bool, Field(strict=True, description="The version gets the best epoch's weights, not the last's.")
    ] = False


class Best(SpecPart):
    """The epoch in which this loss or metric was best."""

    best: Name


Weight = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]


class Precision(StrEnum):
    AUTO = "auto"
    FLOAT32 = "float32"
    MIXED_BFLOAT16 = "mixed_bfloat16"
    MIXED_FLOAT16 = "mixed_float16"


class TensorBoard(SpecPart):
    """What is logged beside the scalars: the histograms of weights every so many epochs, 0 for never; the weights as
    images with them; the graph.
    """

    histograms: Annotated[int, Field(strict=True, ge=0)] = 1
    images: Annotated[bool, Field(strict=True)] = False
    graph: Annotated[bool, Field(strict=True)] = True

    @model_validator(mode="after")
    def _images_come_with_histograms(self) -> Self:
        if self.images and not self.histograms:
            raise ValueError("`images` are written with the histograms: set `histograms` to 1 or more.")
        return self


def _true_for_all_defaults(value: object) -> object:
    return {True: {}, False: None}[value] if isinstance(value, bool) else value


class Training(SpecPart):
    epochs: Annotated[int, Field(strict=True, ge=1, le=100_000)] = 1
    batch_size: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] = 32
    optimizer: OptimizerSpec = OptimizerSpec(name="Adam")
    loss: Annotated[
        Name | None, Field(description="A Keras loss; chosen from the labels and the last layer, if left out.")
    ] = None
    metrics: Annotated[
        list[Name] | None,
        Field(
            max_length=20,
            description="Keras metrics; accuracy for classes and mean_absolute_error for numbers, if left out.",
        ),
    ] = None
    seed: Annotated[int, Field(strict=True, ge=0, le=2**32 - 1)] = 42
    learning_rate_schedule: ScheduleSpec | None = None
    class_weight: Annotated[
        Literal["balanced"] | dict[Name, Weight] | None,
        Field(
            description="How much each class counts in the loss: 1 if left out; `balanced`: the rarer, the more.",
            examples=["balanced", {"3": 2.0}],
        ),
    ] = None
    early_stopping: EarlyStopping | None = None
    keep: Annotated[
        Literal["last"] | Best,
        Field(description="Which epoch's weights become the version.", examples=[{"best": "val_loss"}]),
    ] = "last"
    deterministic: Annotated[
        bool, Field(strict=True, description="The same spec gives the same weights, bit for bit; somewhat slower.")
    ] = False
    precision: Annotated[
        Precision,
        Field(description="Of the training alone: `auto` is mixed_bfloat16 where the device is faster with it."),
    ] = Precision.AUTO
    tensorboard: Annotated[
        TensorBoard | None,
        BeforeValidator(_true_for_all_defaults, json_schema_input_type=bool | TensorBoard | None),
        Field(
            description="Logs for TensorBoard; `true` for those that are not left out.",
            examples=[True, {"histograms": 1, "images": True, "graph": True}],
        ),
    ] = None

    @model_validator(mode="after")
    def _one_best_epoch(self) -> Self:
        stopping = self.early_stopping
        if isinstance(self.keep, Best) and stopping and stopping.restore_best and stopping.monitor != self.keep.best:
            raise ValueError(
                f"`early_stopping` would restore the best {stopping.monitor} and `keep` the best {self.keep.best}: "
                "leave one out."
            )
        return self


class Resources(SpecPart):
    device: Device = Device.AUTO
    priority: Priority = 0
    max_minutes: Annotated[
        float | None,
        Field(
            strict=True,
            gt=0,
            allow_inf_nan=False,
            description="A training that takes longer fails; no limit if left out.",
        ),
    ] = None


class TrainingSpec(SpecPart):
    model: ModelName
    dataset: DatasetChoice
    preprocessing: Preprocessing = Preprocessing()
    augmentation: Annotated[
        list[LayerSpec],
        Field(max_length=20, description="Keras layers that change the images of the training, each time anew."),
    ] = []
    network: Network
    training: Training = Training()
    resources: Resources = Resources()
    tags: Tags = {}
    notes: Notes = ""
    reuse: Annotated[
        bool,
        Field(strict=True, description="A job that trained the same from the same data is answered, if there is one."),
    ] = False
