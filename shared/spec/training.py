"""The training spec: one document that says everything about a training. Unknown keys are refused."""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from shared.devices import Device
from shared.spec.dataset import DatasetSpec
from shared.spec.fields import KerasPart, ModelName, Name, Notes, Priority, SpecPart, Tags, Weight
from shared.spec.network import LayerSpec, NetworkSpec
from shared.spec.preprocessing import Preprocessing


class OptimizerSpec(KerasPart):
    name: Annotated[Name, Field(examples=["SGD"])]

    @model_validator(mode="before")
    @classmethod
    def _accept_name(cls, value: object) -> object:
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
    def _check_images_with_histograms(self) -> Self:
        if self.images and not self.histograms:
            raise ValueError("`images` are written with the histograms: set `histograms` to 1 or more.")
        return self


def _expand_boolean(value: object) -> object:
    return {True: {}, False: None}[value] if isinstance(value, bool) else value


class TrainingOptions(SpecPart):
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
        BeforeValidator(_expand_boolean, json_schema_input_type=bool | TensorBoard | None),
        Field(
            description="Logs for TensorBoard; `true` for those that are not left out.",
            examples=[True, {"histograms": 1, "images": True, "graph": True}],
        ),
    ] = None

    @model_validator(mode="after")
    def _check_one_best_epoch(self) -> Self:
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
    dataset: DatasetSpec
    preprocessing: Preprocessing = Preprocessing()
    augmentation: Annotated[
        list[LayerSpec],
        Field(max_length=20, description="Keras layers that change the images of the training, each time anew."),
    ] = Field(default=[])
    network: NetworkSpec
    training: TrainingOptions = TrainingOptions()
    resources: Resources = Resources()
    tags: Tags = Field(default={})
    notes: Notes = ""
    reuse: Annotated[
        bool,
        Field(strict=True, description="A job that trained the same from the same data is answered, if there is one."),
    ] = False
