from pathlib import Path

import pytest

from shared.devices import Device, list_devices, list_queues
from shared.errors import DeviceUnavailable
from worker.process.devices import choose_device, choose_queues, has_gpu


@pytest.mark.parametrize(
    ("requested", "queues"), [(Device.CPU, ("cpu",)), (Device.GPU, ("gpu",)), (Device.AUTO, ("cpu", "gpu"))]
)
def test_a_job_is_announced_on_the_queues_of_its_device(requested: Device, queues: tuple[str, ...]) -> None:
    assert list_queues(requested) == queues


@pytest.mark.parametrize(
    ("setting", "gpu_here", "queues"),
    [
        (Device.AUTO, False, ("cpu",)),
        (Device.AUTO, True, ("gpu", "cpu")),
        (Device.CPU, True, ("cpu",)),
        (Device.GPU, True, ("gpu", "cpu")),
    ],
)
def test_a_worker_serves_the_queues_of_its_device(setting: Device, gpu_here: bool, queues: tuple[str, ...]) -> None:  # noqa: FBT001
    assert choose_queues(setting, gpu_here=gpu_here) == queues


def test_a_worker_without_a_gpu_takes_no_gpu_jobs() -> None:
    assert list_devices(("cpu",)) == (Device.AUTO, Device.CPU)
    assert list_devices(("gpu", "cpu")) == (Device.AUTO, Device.GPU, Device.CPU)


@pytest.mark.parametrize(
    ("requested", "gpus", "device"),
    [
        (Device.AUTO, 0, "/CPU:0"),
        (Device.AUTO, 1, "/GPU:0"),
        (Device.CPU, 1, "/CPU:0"),
        (Device.GPU, 2, "/GPU:0"),
    ],
)
def test_a_training_runs_on_the_requested_device(requested: Device, gpus: int, device: str) -> None:
    assert choose_device(requested, gpus) == device


def test_a_gpu_job_is_refused_on_a_machine_without_a_gpu() -> None:
    with pytest.raises(DeviceUnavailable, match="asks for a GPU"):
        choose_device(Device.GPU, 0)


def test_a_machine_without_a_gpu_device_file_has_no_gpu(tmp_path: Path) -> None:
    assert not has_gpu(tmp_path)


def test_a_gpu_is_not_used_without_the_cuda_libraries(tmp_path: Path) -> None:
    (tmp_path / "nvidia0").touch()

    assert not has_gpu(tmp_path)  # TensorFlow is installed without CUDA in this environment
