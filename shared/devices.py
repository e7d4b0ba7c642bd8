"""What a job may ask to be trained on, and the queues that serve it."""

from enum import StrEnum


class Device(StrEnum):
    AUTO = "auto"
    CPU = "cpu"
    GPU = "gpu"


def list_queues(device: Device) -> tuple[str, ...]:
    """The queues whose workers may take a job that asks for this device; `auto` is rung on both."""
    return (Device.CPU, Device.GPU) if device is Device.AUTO else (device,)


def list_devices(queues: tuple[str, ...]) -> tuple[Device, ...]:
    """The requests that a worker of these queues can serve."""
    return (Device.AUTO, *(Device(queue) for queue in queues))
