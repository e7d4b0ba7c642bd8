"""Find the columns of a table by their names."""

from collections.abc import Iterable

MAX_COLUMNS = 100_000


def find_positions(names: Iterable[str]) -> dict[str, int]:
    """Return the position of each name, from 0; of equal names, the first position."""
    positions: dict[str, int] = {}
    for position, name in enumerate(names):
        positions.setdefault(name, position)
    return positions
