"""Make optimizers and learning rate schedules by their Keras names."""

import inspect
import math
from typing import Any

import keras

from shared.errors import Fault, InvalidRequest, suggest
from shared.networks.arguments import convert_arguments, translate_keras_errors
from shared.spec.training import ScheduleSpec, TrainingOptions

OPTIMIZERS = tuple("SGD Adam AdamW RMSprop Adagrad Adadelta Adafactor Adamax Ftrl Lamb Lion Muon Nadam".split())
SCHEDULES = tuple(
    "CosineDecay CosineDecayRestarts ExponentialDecay InverseTimeDecay PiecewiseConstantDecay PolynomialDecay".split()
)
TRAINING_POINTER = "#/training"


def make_optimizer(training: TrainingOptions, steps: int) -> keras.optimizers.Optimizer:
    """Make the optimizer of a training with this number of steps. The case of the class name does not matter.

    Raises InvalidRequest, with Keras's message, for arguments that the optimizer or the schedule does not take.
    """
    spec, at = training.optimizer, f"{TRAINING_POINTER}/optimizer"
    name = {known.lower(): known for known in OPTIMIZERS}.get(spec.name.lower())
    if name is None:
        detail = f"{spec.name!r} is not an allowed optimizer.{suggest(spec.name, OPTIMIZERS)}"
        raise _build_error(f"{at}/name", f"{detail} Use one of: {', '.join(OPTIMIZERS)}.")
    optimizer_class = getattr(keras.optimizers, name)
    with translate_keras_errors(f"{name} cannot be created", at):
        arguments = convert_arguments(optimizer_class, spec.arguments, at)
        if arguments.get("learning_rate", 1) <= 0:
            raise _build_error(
                f"{at}/learning_rate",
                f"The learning rate must be greater than 0, not {arguments['learning_rate']}.",
            )
        optimizer = optimizer_class(**arguments)
        if optimizer.use_ema:
            _check_averages(training, at)
        if training.learning_rate_schedule is None:
            return optimizer
        initial_rate = float(optimizer.get_config()["learning_rate"])
        schedule = _make_schedule(training.learning_rate_schedule, initial_rate, steps)
        return optimizer_class(**{**arguments, "learning_rate": schedule})


def _check_averages(training: TrainingOptions, at: str) -> None:
    """Raise InvalidRequest if the weights of an epoch are to be kept: Keras takes the averages after the last one."""
    stopping = training.early_stopping
    if training.keep == "last" and not (stopping and stopping.restore_best):
        return
    key = "training.early_stopping.restore_best" if training.keep == "last" else "training.keep"
    detail = f"The averages are published after the last epoch, and `{key}` publishes the best one. Remove one of them."
    raise _build_error(f"{at}/use_ema", detail)


def _make_schedule(spec: ScheduleSpec, initial_rate: float, steps: int) -> Any:  # noqa: ANN401 - keras
    at = f"{TRAINING_POINTER}/learning_rate_schedule"
    if spec.name == "ReduceLROnPlateau":
        raise _build_error(f"{at}/name", "ReduceLROnPlateau has a key of its own: `training.reduce_lr_on_plateau`.")
    if spec.name not in SCHEDULES:
        detail = f"{spec.name!r} is not an allowed schedule.{suggest(spec.name, SCHEDULES)}"
        raise _build_error(f"{at}/name", f"{detail} Use one of: {', '.join(SCHEDULES)}.")
    schedule_class = getattr(keras.optimizers.schedules, spec.name)
    arguments = convert_arguments(schedule_class, spec.arguments, at)
    for key, value in arguments.items():
        numbers = value if isinstance(value, list) else [value]
        if value is not None and key != "name" and not all(isinstance(number, int | float) for number in numbers):
            raise _build_error(f"{at}/{key}", f"This argument must be a number or a list of numbers, not {value!r}.")
    taken = inspect.signature(schedule_class).parameters
    decay_steps = max(1, steps - int(arguments.get("warmup_steps", 0)))
    default_arguments = {
        "initial_learning_rate": initial_rate,
        "decay_steps": decay_steps,
        "first_decay_steps": decay_steps,
    }
    with translate_keras_errors(f"{spec.name} cannot be created", at):
        schedule = schedule_class(
            **{key: value for key, value in default_arguments.items() if key in taken} | arguments
        )
        for step in (0, steps):
            rate = float(keras.ops.convert_to_numpy(schedule(step)))
            if not (math.isfinite(rate) and rate >= 0):
                raise _build_error(
                    at,
                    f"The learning rate of step {step} would be {rate:g}, and must be 0 or more. "
                    "Change the arguments of the schedule.",
                )
    return schedule


def _build_error(pointer: str, detail: str) -> InvalidRequest:
    return InvalidRequest("The optimizer or the learning rate schedule is invalid.", (Fault(pointer, detail),))
