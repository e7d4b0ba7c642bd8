"""Classes that are told apart by names."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

MAX_CLASS_NAME_CHARACTERS = 100


def encode_labels(labels: Sequence[str]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """The names in the order of the alphabet, and for each label its place among them: (n,).

    Arrays of texts would give every label the room of the longest.
    """
    names = tuple(sorted(set(labels)))
    indices = {name: index for index, name in enumerate(names)}
    return names, np.fromiter((indices[label] for label in labels), np.int64, len(labels))


def find_class_name_faults(names: Iterable[str]) -> list[str]:
    """What is to be said of those that are no names any more."""
    return [
        f"The class name {name[:40]!r}… has {len(name):,} characters, where {MAX_CLASS_NAME_CHARACTERS} are the limit."
        for name in names
        if len(name) > MAX_CLASS_NAME_CHARACTERS
    ]
