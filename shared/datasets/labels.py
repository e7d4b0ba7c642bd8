"""Classes that are told apart by names."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

MOST_SIGNS = 100


def places_of(labels: Sequence[str]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """The names in the order of the alphabet, and for each label its place among them: (n,).

    Arrays of texts would give every label the room of the longest.
    """
    names = tuple(sorted(set(labels)))
    places = {name: place for place, name in enumerate(names)}
    return names, np.fromiter((places[label] for label in labels), np.int64, len(labels))


def faults_of(names: Iterable[str]) -> list[str]:
    """What is to be said of those that are no names any more."""
    return [
        f"The class name {name[:40]!r}… has {len(name):,} characters, where {MOST_SIGNS} are the limit."
        for name in names
        if len(name) > MOST_SIGNS
    ]
