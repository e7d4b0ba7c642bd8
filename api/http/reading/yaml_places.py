"""Find the lines of a YAML document in which the places of JSON Pointers stand."""

from collections.abc import Iterable

from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

Place = tuple[int, int]
"""(line, column), both from 1."""


def find_places(body: bytes, pointers: Iterable[str]) -> dict[str, Place]:
    """Return the place of each pointer, such as `#/training/epochs`: that of the key, or of the entry of a list.

    A pointer into nothing, such as a key that is missing, gets the place of what surrounds it. The document must be one
    that `parse_document` reads.
    """
    root = YAML(typ="safe", pure=True).compose(body)
    return {pointer: _find(root, pointer) for pointer in pointers} if root is not None else {}


def _find(root: Node, pointer: str) -> Place:
    node, mark = root, root.start_mark
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(node, MappingNode):
            found = next(((name, value) for name, value in node.value if name.value == key), None)
            if found is None:
                break
            mark, node = found[0].start_mark, found[1]
        elif isinstance(node, SequenceNode) and key.isdecimal() and int(key) < len(node.value):
            node = node.value[int(key)]
            mark = node.start_mark
        else:
            break
    return mark.line + 1, mark.column + 1
