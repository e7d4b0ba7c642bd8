"""Define the devices that a job can request, and the queues that serve them."""

from enum import StrEnum


class Device(StrEnum):
    """Device for a job. `auto`: the CPU or the GPU of the worker that claims the job."""

    AUTO = "auto"
    CPU = "cpu"
    GPU = "gpu"


def list_queues(device: Device) -> tuple[str, ...]:
    """Return the queues whose workers can run a job for this device."""
    return (Device.CPU, Device.GPU) if device is Device.AUTO else (device,)


def list_devices(queues: tuple[str, ...]) -> tuple[Device, ...]:
    """Return the devices that a job can request so that a worker of these queues can run it."""
    return (Device.AUTO, *(Device(queue) for queue in queues))
