"""Define the training spec, the document that describes a training completely."""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from shared.devices import Device
from shared.spec.dataset import DatasetSpec
from shared.spec.fields import KerasPart, ModelName, Name, Notes, Priority, SpecPart, Tags, Weight
from shared.spec.network import LayerSpec, NetworkSpec
from shared.spec.preprocessing import Preprocessing


class OptimizerSpec(KerasPart):
    """A Keras optimizer: a mapping with its name and its arguments, or its name alone."""

    name: Annotated[Name, Field(examples=["SGD"])]

    @model_validator(mode="before")
    @classmethod
    def _accept_name(cls, value: object) -> object:
        return {"name": value} if isinstance(value, str) else value


class ScheduleSpec(KerasPart):
    """A Keras learning rate schedule with its arguments.

    Default of `initial_learning_rate`: the learning rate of the optimizer. Default of `decay_steps`: all steps of the
    training.
    """

    name: Annotated[Name, Field(examples=["CosineDecay"])]


class LossSpec(KerasPart):
    """A Keras loss with its arguments.

    With `from_logits: true`, the network ends without an activation; the version gets one for its predictions.
    """

    name: Annotated[Name, Field(examples=["categorical_crossentropy"])]


class MetricSpec(KerasPart):
    """A Keras metric with its arguments."""

    name: Annotated[Name, Field(examples=["F1Score"])]


class EarlyStopping(SpecPart):
    """Early stopping. The training ends when `monitor` has not improved by more than `min_delta` for `patience` epochs.

    `monitor` is a loss or a metric. With the mode `min` a lower value is better, with `max` a higher value; with `auto`
    Keras derives the direction from the metric. The first `start_from_epoch` epochs do not count.
    """

    monitor: Name = "val_loss"
    patience: Annotated[int, Field(strict=True, ge=0)] = 0
    min_delta: Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)] = 0.0
    mode: Literal["auto", "min", "max"] = "auto"
    start_from_epoch: Annotated[int, Field(strict=True, ge=0)] = 0
    restore_best: Annotated[
        bool, Field(strict=True, description="The version gets the weights of the best epoch, not of the last epoch.")
    ] = False


class ReduceOnPlateau(SpecPart):
    """Keras's ReduceLROnPlateau: the learning rate is multiplied by `factor`, down to `min_lr`, as often as `monitor`
    has not improved by more than `min_delta` for `patience` epochs.

    `monitor` and `mode` are those of early stopping. The `cooldown` epochs after a reduction do not count.
    """

    monitor: Name = "val_loss"
    factor: Annotated[float, Field(strict=True, gt=0, lt=1, allow_inf_nan=False)] = 0.1
    patience: Annotated[int, Field(strict=True, ge=1)] = 10
    min_delta: Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)] = 1e-4
    mode: Literal["auto", "min", "max"] = "auto"
    cooldown: Annotated[int, Field(strict=True, ge=0)] = 0
    min_lr: Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)] = 0.0


class BestEpoch(SpecPart):
    """The epoch with the best value of a loss or a metric."""

    best: Name


class Precision(StrEnum):
    AUTO = "auto"
    FLOAT32 = "float32"
    MIXED_BFLOAT16 = "mixed_bfloat16"
    MIXED_FLOAT16 = "mixed_float16"


class TensorBoard(SpecPart):
    """The content of the logs for TensorBoard. They always contain scalars.

    `histograms` is the number of epochs between two histograms of the weights; 0 means no histograms. `images` adds the
    weights as images to each histogram, and `gradients` a histogram of the gradients of each weight. `graph` adds the
    graph of the network.
    """

    histograms: Annotated[int, Field(strict=True, ge=0)] = 1
    images: Annotated[bool, Field(strict=True)] = False
    gradients: Annotated[bool, Field(strict=True, exclude_if=lambda wanted: not wanted)] = False
    graph: Annotated[bool, Field(strict=True)] = True

    @model_validator(mode="after")
    def _check_content_with_histograms(self) -> Self:
        for name in ("images", "gradients"):
            if getattr(self, name) and not self.histograms:
                raise ValueError(f"`{name}` are written together with the histograms. Set `histograms` to 1 or more.")
        return self


def _expand_boolean(value: object) -> object:
    return {True: {}, False: None}[value] if isinstance(value, bool) else value


class TrainingOptions(SpecPart):
    epochs: Annotated[
        int,
        Field(
            strict=True,
            ge=0,
            le=100_000,
            description="Number of epochs. With 0, the network is evaluated and published without training.",
        ),
    ] = 1
    batch_size: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] = 32
    shuffle: Annotated[
        bool,
        Field(
            strict=True,
            description="Shuffle the training rows before each epoch. With `false`, they are taken in their order.",
            exclude_if=lambda shuffles: shuffles,
        ),
    ] = True
    optimizer: Annotated[
        OptimizerSpec, BeforeValidator(lambda given: given, json_schema_input_type=Name | OptimizerSpec)
    ] = OptimizerSpec(name="Adam")
    loss: Annotated[
        Name | LossSpec | None,
        Field(
            description="A Keras loss: its name, or a mapping with its name and its arguments. Default: depends on the "
            "labels and the last layer.",
            examples=["mse", {"name": "categorical_crossentropy", "label_smoothing": 0.1}],
        ),
    ] = None
    metrics: Annotated[
        list[Name | MetricSpec] | None,
        Field(
            max_length=20,
            description="Keras metrics: names, or mappings with a name and arguments. Default: `accuracy` for classes, "
            "`mean_absolute_error` for numbers.",
            examples=[["accuracy", {"name": "FBetaScore", "beta": 2.0}]],
        ),
    ] = None
    seed: Annotated[int, Field(strict=True, ge=0, le=2**32 - 1)] = 42
    learning_rate_schedule: ScheduleSpec | None = None
    reduce_lr_on_plateau: ReduceOnPlateau | None = None
    class_weight: Annotated[
        dict[Name, Weight] | Literal["balanced"] | None,
        Field(
            description="Weight of each class in the loss. `balanced` gives a rare class more weight. Default: 1.",
            examples=["balanced", {"3": 2.0}],
        ),
    ] = None
    early_stopping: EarlyStopping | None = None
    keep: Annotated[
        BestEpoch | Literal["last"],
        Field(
            description="The epoch whose weights become the version: the last one, or the one with the best value of a "
            "loss or a metric.",
            examples=[{"best": "val_loss"}],
        ),
    ] = "last"
    deterministic: Annotated[
        bool,
        Field(strict=True, description="The same spec gives the same weights, bit for bit. The training is slower."),
    ] = False
    precision: Annotated[
        Precision,
        Field(
            description="Numeric precision of the training. `auto` selects mixed_bfloat16 for images if the device "
            "and the network are faster with it, else float32. Evaluation and serving always use float32."
        ),
    ] = Precision.AUTO
    tensorboard: Annotated[
        TensorBoard | None,
        BeforeValidator(_expand_boolean, json_schema_input_type=bool | TensorBoard | None),
        Field(
            description="Write logs for TensorBoard. `true` selects the default content.",
            examples=[True, {"histograms": 1, "images": True, "graph": True}],
        ),
    ] = None

    @model_validator(mode="after")
    def _check_one_learning_rate(self) -> Self:
        if self.learning_rate_schedule is not None and self.reduce_lr_on_plateau is not None:
            raise ValueError(
                "`learning_rate_schedule` and `reduce_lr_on_plateau` both set the learning rate. Remove one of them."
            )
        return self

    @model_validator(mode="after")
    def _check_one_best_epoch(self) -> Self:
        keep, stopping = self.keep, self.early_stopping
        if isinstance(keep, BestEpoch) and stopping and stopping.restore_best and stopping.monitor != keep.best:
            raise ValueError(
                f"`early_stopping` restores the epoch with the best {stopping.monitor}, and `keep` selects the epoch "
                f"with the best {keep.best}. Remove one of them."
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
            description="Time limit of the training in minutes. A training that takes longer fails. Default: no limit.",
        ),
    ] = None


class TrainingSpec(SpecPart):
    model: ModelName
    dataset: DatasetSpec
    preprocessing: Preprocessing = Preprocessing()
    augmentation: Annotated[
        list[LayerSpec],
        Field(
            max_length=20,
            description="Keras layers that change training images at random, each time differently. Default: none.",
        ),
    ] = Field(default=[])
    network: NetworkSpec
    training: TrainingOptions = TrainingOptions()
    resources: Resources = Resources()
    tags: Tags = Field(default={})
    notes: Notes = ""
    baselines: Annotated[
        bool,
        Field(
            strict=True,
            description="Train simple models of scikit-learn on the same rows, and measure them like the network: "
            "`GET …/versions/<n>/baselines`.",
            exclude_if=lambda wanted: not wanted,
        ),
    ] = False
    publish: Annotated[
        bool,
        Field(
            strict=True,
            description="`false`: the version is a candidate without a number, which nothing serves. The id of its job "
            "names it, and it can be published later: `POST /api/v1/jobs/<id>/publication`.",
            exclude_if=lambda wanted: wanted,
        ),
    ] = True
    reuse: Annotated[
        bool,
        Field(
            strict=True,
            description="Return an earlier job with the same training and data if it published a version. If there is "
            "none, create a new job.",
        ),
    ] = False
