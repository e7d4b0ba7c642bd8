"""Compute the filters of a first layer that whitens the patches of images."""

from math import ceil, sqrt
from typing import Any

import keras
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from shared.datasets.row_files import MappedRows
from shared.networks.layer_factory import WHITENING
from shared.preprocessing.normalisation import Normalisation
from shared.spec.network import NetworkSpec

SAMPLED_ROWS = 5_000
SAMPLED_NUMBERS = 100_000_000
"""Limit on the numbers in the patches of SAMPLED_ROWS training images that the filters are computed from."""
CHUNK_NUMBERS = 10_000_000
"""Numbers of the images that are read at once."""
LEAST_VARIANCE = 5e-4
"""Added to the variance along each direction. A direction without variance would have filters without bound."""


def has_whitening(network: NetworkSpec) -> bool:
    """Return whether the first layer of a spec is a `Whitening`."""
    return network.layers is not None and network.layers[0].layer == WHITENING


def whiten(network: keras.Model, x: NDArray[Any] | MappedRows, normalisation: Normalisation) -> None:
    """Set the filters of the first layer, a Conv2D, from the training images x, (n, height, width, channels)."""
    layer = network.layers[1]  # the input is a layer too
    rows = np.linspace(0, len(x) - 1, min(len(x), SAMPLED_ROWS)).astype(np.int64)
    covariance = compute_patch_covariance(x, rows, normalisation, layer.kernel_size)
    filters = compute_whitening_filters(covariance, layer.filters)
    layer.set_weights([filters.reshape((*layer.kernel_size, x.shape[3], layer.filters))])


def compute_patch_covariance(
    x: NDArray[Any] | MappedRows, rows: NDArray[np.int64], normalisation: Normalisation, kernel_size: tuple[int, int]
) -> NDArray[np.float64]:
    """Return the covariance of the patches of some rows of x, (patch, patch).

    A patch has height × width × channels numbers, in the order of a kernel of Conv2D. If the patches have more than
    SAMPLED_NUMBERS, some at regular distances are taken. Images that are smaller than the kernel get a border of zeros.
    """
    height, width = kernel_size
    size = height * width * x.shape[3]
    total, products, count = np.zeros(size), np.zeros((size, size)), 0
    pixels = x.shape[1] * x.shape[2]
    per_chunk = max(1, CHUNK_NUMBERS // (pixels * x.shape[3]))
    distance = ceil(sqrt(len(rows) * pixels * size / SAMPLED_NUMBERS))
    for start in range(0, len(rows), per_chunk):
        chunk = rows[start : start + per_chunk]
        taken = x.read(chunk) if isinstance(x, MappedRows) else x[chunk]
        images = normalisation.apply(np.asarray(taken, np.float32))
        borders = [(0, max(0, side - own)) for side, own in zip(kernel_size, images.shape[1:3], strict=True)]
        images = np.pad(images, [(0, 0), *borders, (0, 0)])
        windows = sliding_window_view(images, kernel_size, axis=(1, 2))  # (n, rows, columns, channels, height, width)
        patches = windows[:, ::distance, ::distance].transpose(0, 1, 2, 4, 5, 3).reshape(-1, size)
        total += patches.sum(axis=0, dtype=np.float64)
        products += patches.T @ patches
        count += len(patches)
    mean = total / count
    return products / count - np.outer(mean, mean)


def compute_whitening_filters(covariance: NDArray[np.float64], filters: int) -> NDArray[np.float32]:
    """Return filters for patches of a covariance (patch, patch): as columns, (patch, filters).

    The first half are the directions of most variance, each divided by the standard deviation along it, so that their
    outputs are uncorrelated with variance 1. The second half are the negatives of the first. Source: Page, How to train
    your ResNet, part 8 (2019); Jordan, 2024, arXiv:2404.00498, section 3.2.
    """
    variances, directions = np.linalg.eigh(covariance)
    largest = np.argsort(variances)[::-1][: filters // 2]
    scaled = directions[:, largest] / np.sqrt(np.maximum(variances[largest], 0) + LEAST_VARIANCE)
    return np.concatenate([scaled, -scaled], axis=1).astype(np.float32)
