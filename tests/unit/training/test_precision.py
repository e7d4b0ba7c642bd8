from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from shared.spec.training import Precision
from worker.training import precision
from worker.training.precision import (
    choose_precision,
    compute_in,
    count_products,
    has_fast_bfloat16,
    is_worth_a_trial,
    try_precisions,
)


def build_convolutional_network() -> keras.Model:
    layers = [keras.Input((8, 8, 1)), keras.layers.Conv2D(4, 3, padding="same"), keras.layers.Flatten()]
    return keras.Sequential([*layers, keras.layers.Dense(5), keras.layers.Dense(2, activation="softmax")])


def test_products_are_counted_at_every_position_of_a_kernel() -> None:
    assert count_products(build_convolutional_network()) == 9 * 4 * 64 + 256 * 5 + 5 * 2


def test_all_layers_but_the_last_compute_in_bfloat16() -> None:
    network = build_convolutional_network()

    with compute_in(network, Precision.MIXED_BFLOAT16):
        during = [layer.compute_dtype for layer in network.layers]

    assert during == ["bfloat16", "bfloat16", "bfloat16", "float32"]
    assert {layer.compute_dtype for layer in network.layers} == {"float32"}
    assert {weight.dtype for weight in network.weights} == {"float32"}


def test_predictions_after_the_training_are_those_of_float32() -> None:
    network = build_convolutional_network()
    images = np.random.default_rng(1).random((3, 8, 8, 1), np.float32)
    expected = predict(network, images)

    with compute_in(network, Precision.MIXED_BFLOAT16):
        rounded = predict(network, images)

    assert not np.array_equal(rounded, expected)
    assert np.array_equal(predict(network, images), expected)


@pytest.mark.parametrize(
    ("flags", "fast"), [("fpu avx512f", False), ("fpu avx512_bf16", True), ("amx_tile amx_bf16", True)]
)
def test_fast_bfloat16_is_detected_by_the_flags_of_the_processor(tmp_path: Path, flags: str, *, fast: bool) -> None:
    cpu_info = tmp_path / "cpuinfo"
    cpu_info.write_text(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t\t: none\n")

    assert has_fast_bfloat16("/CPU:0", cpu_info) is fast


def test_fast_bfloat16_is_false_without_a_cpuinfo_file(tmp_path: Path) -> None:
    assert not has_fast_bfloat16("/CPU:0", tmp_path / "cpuinfo")


@pytest.mark.parametrize("requested", [Precision.FLOAT32, Precision.MIXED_FLOAT16])
def test_a_requested_precision_is_used(requested: Precision) -> None:
    assert choose_precision(requested, build_convolutional_network(), 1, "/CPU:0") is requested


def test_small_steps_and_tables_are_computed_in_float32() -> None:
    table = keras.Sequential([keras.Input((1000,)), keras.layers.Dense(1000), keras.layers.Dense(1)])

    assert choose_precision(Precision.AUTO, build_convolutional_network(), 32, "/CPU:0") is Precision.FLOAT32
    assert choose_precision(Precision.AUTO, table, 10_000, "/CPU:0") is Precision.FLOAT32


def test_large_steps_on_images_use_bfloat16_where_it_is_fast() -> None:
    expected = Precision.MIXED_BFLOAT16 if has_fast_bfloat16("/CPU:0") else Precision.FLOAT32

    assert choose_precision(Precision.AUTO, build_convolutional_network(), 100_000, "/CPU:0") is expected


def test_only_a_long_training_is_worth_a_trial() -> None:
    network = build_convolutional_network()

    assert not is_worth_a_trial(network, 10**9)
    assert is_worth_a_trial(network, 10**10)


@pytest.mark.parametrize(
    ("min_gain", "chosen"), [(-1.0, Precision.MIXED_BFLOAT16), (float("inf"), Precision.FLOAT32)], ids=str
)
def test_a_trial_leaves_the_network_as_it_was(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, min_gain: float, chosen: Precision
) -> None:
    """The layers draw random numbers and have a state, and so has the optimizer."""
    monkeypatch.setattr(precision, "MIN_GAIN", min_gain)
    random = np.random.default_rng(1)
    batch = tf.constant(random.random((6, 8, 8, 1), np.float32)), tf.constant([0, 1] * 3)
    networks = [build_convolutional_network_with_state() for _ in range(2)]
    with caplog.at_level("INFO"):
        found = try_precisions(networks[1], batch, "/CPU:0")
    for network in networks:
        network.fit(*batch, epochs=3, batch_size=6, shuffle=False, verbose=0)

    assert found is chosen
    assert "in float32 and" in caplog.text
    assert networks[0].history.history == networks[1].history.history
    for expected, weight in zip(networks[0].get_weights(), networks[1].get_weights(), strict=True):
        assert np.array_equal(expected, weight)


def build_convolutional_network_with_state() -> keras.Model:
    keras.utils.set_random_seed(1)
    [*layers, last] = build_convolutional_network().layers
    network = keras.Sequential(
        [keras.Input((8, 8, 1)), *layers, keras.layers.BatchNormalization(), keras.layers.Dropout(0.5), last]
    )
    network.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    network.optimizer.build(network.trainable_variables)
    return network


def predict(network: keras.Model, images: NDArray[np.float32]) -> NDArray[np.float32]:
    outputs: NDArray[np.float32] = keras.ops.convert_to_numpy(network(images))
    return outputs
