from pathlib import Path

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from shared.spec.training import Precision
from worker.training.precision import choose_precision, compute_in, count_products, has_fast_bfloat16


def convolutions() -> keras.Model:
    layers = [keras.Input((8, 8, 1)), keras.layers.Conv2D(4, 3, padding="same"), keras.layers.Flatten()]
    return keras.Sequential([*layers, keras.layers.Dense(5), keras.layers.Dense(2, activation="softmax")])


def test_products_count_every_place_a_kernel_is_applied_at() -> None:
    assert count_products(convolutions()) == 9 * 4 * 64 + 256 * 5 + 5 * 2


def test_all_but_the_last_weights_are_used_in_the_shorter_type_and_kept_in_the_longer() -> None:
    network = convolutions()

    with compute_in(network, Precision.MIXED_BFLOAT16):
        during = [layer.compute_dtype for layer in network.layers]

    assert during == ["bfloat16", "bfloat16", "bfloat16", "float32"]
    assert {layer.compute_dtype for layer in network.layers} == {"float32"}
    assert {weight.dtype for weight in network.weights} == {"float32"}


def test_after_the_training_the_answers_are_those_of_float32() -> None:
    network = convolutions()
    images = np.random.default_rng(1).random((3, 8, 8, 1), np.float32)
    expected = answers(network, images)

    with compute_in(network, Precision.MIXED_BFLOAT16):
        rounded = answers(network, images)

    assert not np.array_equal(rounded, expected)
    assert np.array_equal(answers(network, images), expected)


@pytest.mark.parametrize(
    ("flags", "fast"), [("fpu avx512f", False), ("fpu avx512_bf16", True), ("amx_tile amx_bf16", True)]
)
def test_a_processor_says_whether_it_has_bfloat16(tmp_path: Path, flags: str, *, fast: bool) -> None:
    cpu_info = tmp_path / "cpuinfo"
    cpu_info.write_text(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t\t: none\n")

    assert has_fast_bfloat16("/CPU:0", cpu_info) is fast


def test_a_machine_that_does_not_say_has_none(tmp_path: Path) -> None:
    assert not has_fast_bfloat16("/CPU:0", tmp_path / "cpuinfo")


@pytest.mark.parametrize("asked", [Precision.FLOAT32, Precision.MIXED_FLOAT16])
def test_who_asks_for_a_precision_gets_it(asked: Precision) -> None:
    assert choose_precision(asked, convolutions(), 1, "/CPU:0") is asked


def test_small_steps_and_rows_of_numbers_stay_in_float32() -> None:
    table = keras.Sequential([keras.Input((1000,)), keras.layers.Dense(1000), keras.layers.Dense(1)])

    assert choose_precision(Precision.AUTO, convolutions(), 32, "/CPU:0") is Precision.FLOAT32
    assert choose_precision(Precision.AUTO, table, 10_000, "/CPU:0") is Precision.FLOAT32


def test_large_steps_on_images_take_what_the_processor_is_fast_with() -> None:
    expected = Precision.MIXED_BFLOAT16 if has_fast_bfloat16("/CPU:0") else Precision.FLOAT32

    assert choose_precision(Precision.AUTO, convolutions(), 100_000, "/CPU:0") is expected


def answers(network: keras.Model, images: NDArray[np.float32]) -> NDArray[np.float32]:
    outputs: NDArray[np.float32] = keras.ops.convert_to_numpy(network(images))
    return outputs
