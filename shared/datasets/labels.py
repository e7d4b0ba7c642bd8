"""Convert class names to class indices."""

import re
from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

MAX_CLASSES = 10_000
MAX_CLASS_NAME_CHARACTERS = 100
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def encode_labels(labels: Sequence[str]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Return the class names, sorted by Unicode code point, and the class index of each label, (n,) int64.

    The labels are not a NumPy array, because an array of strings takes the space of its longest string for each entry.
    """
    names = tuple(sorted(set(labels)))
    indices = {name: index for index, name in enumerate(names)}
    return names, np.fromiter((indices[label] for label in labels), np.int64, len(labels))


def find_class_name_faults(names: Collection[str]) -> list[str]:
    """Return a sentence for each class name that is too long, that a database cannot store, or that occurs twice.

    For more than MAX_CLASSES names, return only one sentence.
    """
    if len(names) > MAX_CLASSES:
        return [f"There are {len(names):,} classes; the limit is {MAX_CLASSES:,}. Use fewer classes."]
    faults = []
    for name, times in Counter(iter(names)).items():
        if times > 1:
            faults.append(f"The class name {name[:40]!r} occurs {times} times. Give each class a name of its own.")
        if len(name) > MAX_CLASS_NAME_CHARACTERS:
            limit = MAX_CLASS_NAME_CHARACTERS
            faults.append(f"The class name {name[:40]!r}… has {len(name):,} characters; the limit is {limit}.")
        elif _UNSTORABLE.search(name) is not None:
            faults.append(f"The class name {name!r} contains a NUL character or an unpaired surrogate. Rename it.")
    return faults
