"""Find the operations that only compute masks, which layers pass on by themselves.

`Embedding(mask_zero=True)` and `Masking` make the mask of the padding. Keras 3 prints it as operations beside the
layers, such as `NotEqual(inputs, 0)`, and as an argument `mask` of the calls. A network that is built from the layers
gets the same masks, so that these operations are left out.
"""

from collections.abc import Iterable, Mapping
from typing import Any

MASK_KEYS = frozenset({"mask", "query_mask", "value_mask", "key_mask"})
"""Arguments of a call that are masks."""
BLANK = frozenset({"ZerosLike", "OnesLike"})
"""Operations for the part of a mask that belongs to a tensor without one."""
COMBINING = frozenset({"Any", "All", "LogicalOr", "LogicalAnd", "ExpandDims", "Squeeze", "Concatenate"})
COMPARING = "NotEqual"

Source = tuple[int, int]
"""The output of a layer or an operation: (index of the entry, use)."""


def find_masks(
    names: Mapping[int, str], operands: Mapping[int, list[Any]], masked: Iterable[tuple[Source, float]]
) -> frozenset[int]:
    """Return the indices of the operations that compute masks, of which each has a layer that makes it.

    Args:
        names: the operations by index.
        operands: the operands of each operation: a Source, or a number.
        masked: the inputs of the layers that make masks, each with the value that is masked.
    """
    made = set(masked)
    blank = {index for index, name in names.items() if name in BLANK}
    found = {index for index, name in names.items() if name == COMPARING and _find_comparison(operands[index]) in made}
    grows = True
    while grows:
        new = {
            index
            for index, name in names.items()
            if index not in found and name in COMBINING and _combines(operands[index], found, blank)
        }
        found |= new
        grows = bool(new)
    used = {source[0] for index in found for source in operands[index] if isinstance(source, tuple)}
    return frozenset(found | (blank & used))


def _find_comparison(operands: list[Any]) -> tuple[Source, float] | None:
    """Return what is compared: a tensor and a number. None for other operands."""
    match operands:
        case [tuple() as source, int() | float() as value]:
            return source, float(value)
    return None


def _combines(operands: list[Any], found: set[int], blank: set[int]) -> bool:
    """Return whether the tensors are masks, at least one of them of a layer."""
    sources = {operand[0] for operand in operands if isinstance(operand, tuple)}
    return not sources.isdisjoint(found) and sources <= found | blank
