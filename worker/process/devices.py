"""What this machine can train on, and what a job gets of it."""

from importlib.util import find_spec
from pathlib import Path

from shared.devices import Device
from shared.errors import DeviceUnavailable


def has_gpu(device_files: Path = Path("/dev")) -> bool:
    """A card, and a TensorFlow that can use it; asked without importing TensorFlow, which the parent never does."""
    return any(device_files.glob("nvidia[0-9]*")) and find_spec("nvidia") is not None


def choose_queues(setting: Device, *, gpu_here: bool) -> tuple[str, ...]:
    """A machine with a GPU has a processor as well: it takes both kinds of job, unless it was told."""
    if setting is Device.CPU or (setting is Device.AUTO and not gpu_here):
        return (Device.CPU,)
    return (Device.GPU, Device.CPU)


def choose_device(requested: Device, gpus: int) -> str:
    """Where TensorFlow is to train. Raises DeviceUnavailable rather than train a GPU's job on the processor."""
    if requested is Device.GPU and gpus == 0:
        raise DeviceUnavailable(
            "The job asks for a GPU, and TensorFlow finds none here: check the driver, or ask for `auto`."
        )
    return "/CPU:0" if requested is Device.CPU or gpus == 0 else "/GPU:0"
