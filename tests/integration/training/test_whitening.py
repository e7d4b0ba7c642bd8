"""Test the layer `Whitening`: its filters come from the training images, and stay as they are."""

from pathlib import Path

import numpy as np
import pytest
from flask.testing import FlaskClient
from numpy.lib.stride_tricks import sliding_window_view

from shared.datasets.row_files import MappedRows
from shared.preprocessing.normalisation import Normalisation
from tests.support.examples import DENSE_SOFTMAX, DIGITS, Json, changed
from tests.support.jobs import train
from tests.support.versions import read_weights
from tests.support.worker import InProcessWorker
from worker.training.whitening import compute_patch_covariance, compute_whitening_filters

WHITENED: Json = changed(
    changed(DIGITS, "preprocessing", {"size": "data", "scale": "standardize"}),
    "network.layers",
    [
        {"layer": "Whitening", "kernel_size": 2, "filters": 8, "name": "patches"},
        {"layer": "ReLU"},
        {"layer": "Flatten"},
        DENSE_SOFTMAX,
    ],
)
KERNEL_RANK = 4
NORMALISATION = Normalisation(offset=(100.0, 110.0, 120.0), divisor=(50.0, 60.0, 70.0))


@pytest.fixture
def images() -> np.ndarray:
    """Smooth images in color, whose pixels are correlated."""
    coarse = np.random.default_rng(1).integers(0, 256, (400, 4, 4, 3))
    fine = coarse.repeat(4, axis=1).repeat(4, axis=2)
    return ((fine + np.roll(fine, 1, axis=1) + np.roll(fine, 1, axis=2)) // 3).astype(np.uint8)


def list_patches(images: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return the patches of normalised images, in the order of the numbers of a kernel of Conv2D."""
    windows = sliding_window_view(NORMALISATION.apply(images.astype(np.float32)), (height, width), axis=(1, 2))
    return np.moveaxis(windows, 3, 5).reshape(-1, height * width * 3)


def test_outputs_of_the_filters_are_uncorrelated_with_variance_1(images: np.ndarray) -> None:
    covariance = compute_patch_covariance(images, np.arange(400), NORMALISATION, (2, 3))
    filters = compute_whitening_filters(covariance, 12)

    patches = list_patches(images, 2, 3)
    np.testing.assert_allclose(covariance, np.cov(patches.T, bias=True), atol=1e-4)
    outputs = patches @ filters[:, :6]
    np.testing.assert_allclose(np.cov(outputs.T), np.eye(6), atol=0.02)
    np.testing.assert_array_equal(filters[:, 6:], -filters[:, :6])


def test_images_of_one_color_have_finite_filters() -> None:
    images = np.full((10, 4, 4, 3), 7, np.uint8)

    covariance = compute_patch_covariance(images, np.arange(10), NORMALISATION, (3, 3))

    assert np.isfinite(compute_whitening_filters(covariance, 54)).all()


def test_images_smaller_than_the_kernel_have_a_border(images: np.ndarray) -> None:
    covariance = compute_patch_covariance(images[:, :2, :2], np.arange(400), NORMALISATION, (3, 3))

    assert covariance.shape == (27, 27)
    assert covariance.diagonal().reshape(3, 3, 3)[:2, :2].all()
    assert not covariance.diagonal().reshape(3, 3, 3)[2].any()


def test_of_many_patches_some_at_distances_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (400, 16, 16, 3), np.uint8)
    of_all = compute_patch_covariance(noise, np.arange(400), NORMALISATION, (2, 2))
    monkeypatch.setattr("worker.training.whitening.SAMPLED_NUMBERS", 400_000)  # the patches have 1,228,800

    of_some = compute_patch_covariance(noise, np.arange(400), NORMALISATION, (2, 2))

    np.testing.assert_allclose(of_some, of_all, atol=0.1)
    assert not np.array_equal(of_some, of_all)


def test_rows_in_a_file_and_in_chunks_give_the_same(
    images: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = compute_patch_covariance(images, np.arange(400), NORMALISATION, (2, 2))
    np.save(tmp_path / "x.npy", images)
    monkeypatch.setattr("worker.training.whitening.CHUNK_NUMBERS", 100_000)

    in_chunks = compute_patch_covariance(MappedRows(tmp_path / "x.npy"), np.arange(400), NORMALISATION, (2, 2))

    np.testing.assert_allclose(in_chunks, at_once, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_training_keeps_the_filters(http: FlaskClient, worker: InProcessWorker) -> None:
    kernels = []
    for version, epochs in enumerate((0, 2), 1):
        spec = changed(WHITENED, "training", {"epochs": epochs})
        job = train(http, worker, spec)
        assert job["status"] == "succeeded", job["error"]
        (kernel,) = (values for values in read_weights(http, "digits", version).values() if values.ndim == KERNEL_RANK)
        kernels.append(kernel)

    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert kernels[0].shape == (2, 2, 1, 8)
    np.testing.assert_array_equal(kernels[0][..., 4:], -kernels[0][..., :4])
    published = http.get("/api/v1/models/digits/versions/1").json
    assert published["parameters"] - published["trainable_parameters"] == kernels[0].size
