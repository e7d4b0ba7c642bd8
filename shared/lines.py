"""Many texts as one array of bytes, where an array of texts would give each the room of the longest."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


def joined(texts: Iterable[str]) -> NDArray[np.uint8]:
    """UTF-8, one behind the other. They have no line breaks."""
    return np.frombuffer("\n".join(texts).encode(), np.uint8)


def split(lines: NDArray[np.uint8]) -> tuple[str, ...]:
    """What was joined, if it was anything."""
    return tuple(lines.tobytes().decode().split("\n"))
