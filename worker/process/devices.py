"""Detect the GPU of this machine, and choose the queues of a worker and the device of a job."""

from importlib.util import find_spec
from pathlib import Path

from shared.devices import Device
from shared.errors import DeviceUnavailable


def has_gpu(device_files: Path = Path("/dev")) -> bool:
    """Return whether this machine has an NVIDIA GPU and the CUDA libraries that TensorFlow needs.

    Does not import TensorFlow, because the parent process never does.
    """
    return any(device_files.glob("nvidia[0-9]*")) and find_spec("nvidia") is not None


def choose_queues(setting: Device, *, gpu_here: bool) -> tuple[str, ...]:
    """Return the queues of a worker, from its setting TRAINYARD_DEVICE.

    With `gpu` the worker runs GPU and CPU jobs, with `cpu` only CPU jobs. `auto` means `gpu` if the machine has a GPU.
    """
    if setting is Device.CPU or (setting is Device.AUTO and not gpu_here):
        return (Device.CPU,)
    return (Device.GPU, Device.CPU)


def choose_device(requested: Device, gpus: int) -> str:
    """Return the device name for TensorFlow. `auto` is the GPU if there is one.

    Raises DeviceUnavailable if the job asks for a GPU and there is none.
    """
    if requested is Device.GPU and gpus == 0:
        raise DeviceUnavailable(
            "The job asks for a GPU, and TensorFlow finds none on this worker. Check the driver, or ask for `auto`."
        )
    return "/CPU:0" if requested is Device.CPU or gpus == 0 else "/GPU:0"
