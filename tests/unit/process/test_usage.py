"""Test how the answer of the driver about GPUs is read."""

import pytest

from worker.process.usage import parse_gpus


def test_every_gpu_has_its_load_and_its_memory() -> None:
    answer = "NVIDIA H200, 37, 1024, 143771\nNVIDIA GeForce RTX 4090, 0, 0, 24564\n"

    first, second = parse_gpus(answer)

    assert (first.name, first.percent, first.memory_used, first.memory_total) == (
        "NVIDIA H200",
        37,
        2**30,
        143_771 * 2**20,
    )
    assert second.memory_used == 0


@pytest.mark.parametrize("answer", ["NVIDIA A100, [N/A], 1, 2\n", "no devices were found\n"])
def test_another_answer_is_an_error(answer: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_gpus(answer)
