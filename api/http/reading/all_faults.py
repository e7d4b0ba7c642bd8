"""Tell all faults of a document at once, with their lines if it is YAML."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import wraps
from typing import Any

from flask import Response, current_app

from api.http.bodies import read_document_body
from api.http.reading.document_reader import CONFIG_KEY, DocumentReader
from shared.errors import Fault, InvalidRequest, ServiceError, overlaps

View = Callable[..., Response]
FORM_DEPTH = 2
"""Depth of mappings such as `#/dataset/validation`, which have several forms, told apart by their keys."""
CHECKED_LAST = "#/network/"
"""Where faults stand that are found only when all other values of a spec are allowed."""


@contextmanager
def tell_all_faults(check: Callable[[Any], None]) -> Iterator[None]:
    """Add to a refusal of the body the faults that it hides, and the lines of all faults.

    `check` is called with the document without the keys at fault. It raises InvalidRequest for further faults. Those in
    the place of a removed key are no faults of the document.
    """
    try:
        yield
    except InvalidRequest as refused:
        if not refused.faults or any(fault.where != "body" for fault in refused.faults):
            raise
        body, is_yaml = read_document_body()
        reader: DocumentReader = current_app.config[CONFIG_KEY]
        faults = list(refused.faults)
        if not any(fault.pointer.startswith(CHECKED_LAST) for fault in faults):
            document, _ = reader.read_with_places(body, (), is_yaml=is_yaml)
            with suppress(LookupError, ValueError, TypeError):  # the pointer of a fault in a part of several kinds
                for fault in refused.faults:
                    _remove(document, fault.pointer)
                removed = [replace(fault, pointer=_find_place(fault.pointer)) for fault in refused.faults]
                faults += [one for one in _collect(check, document) if not overlaps(one, removed)]
        if is_yaml:
            _, places = reader.read_with_places(body, [fault.pointer for fault in faults], is_yaml=True)
            faults = [replace(fault, **_to_place(places.get(fault.pointer))) for fault in faults]
            faults.sort(key=lambda fault: (fault.line or 0, fault.column or 0))
        raise InvalidRequest(refused.detail, tuple(faults)) from None


def with_all_faults(check: Callable[[Any], None]) -> Callable[[View], View]:
    """Return a decorator of a view: a refusal of its body has all faults, as `tell_all_faults` collects them."""

    def wrap(view: View) -> View:
        @wraps(view)
        def call(**path: object) -> Response:
            with tell_all_faults(check):
                return view(**path)

        return call

    return wrap


def _collect(check: Callable[[Any], None], document: Any) -> tuple[Fault, ...]:  # noqa: ANN401 - JSON
    try:
        check(document)
    except InvalidRequest as further:
        return further.faults
    except ServiceError:
        return ()  # it is told when the faults are mended
    return ()


def _find_place(pointer: str) -> str:
    """Return the place whose faults can follow from the removal of a key: the mapping that it is in, or the key."""
    parent = pointer.rpartition("/")[0]
    return parent if parent.count("/") >= FORM_DEPTH else pointer


def _remove(document: Any, pointer: str) -> None:  # noqa: ANN401 - JSON
    """Remove the key at a pointer."""
    *path, last = (part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:])
    for part in path:
        document = document[int(part)] if isinstance(document, list) else document[part]
    del document[last]  # of a list, the key is text, which is a TypeError


def _to_place(place: tuple[int, int] | None) -> dict[str, Any]:
    return {"line": place[0], "column": place[1]} if place is not None else {}
