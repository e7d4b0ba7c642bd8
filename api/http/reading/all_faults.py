"""Tell all faults of a document at once, with their lines if it is YAML."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import wraps
from typing import Any

from flask import Response, current_app

from api.http.bodies import read_document_body
from api.http.reading.document_reader import CONFIG_KEY, DocumentReader
from shared.errors import Fault, InvalidRequest, ServiceError

View = Callable[..., Response]
UNKNOWN_KEY = "Unknown key."
"""How the detail of a fault begins that hides no other fault: without the key, the document can be checked further."""


@contextmanager
def tell_all_faults(check: Callable[[Any], None]) -> Iterator[None]:
    """Add to a refusal of the body the faults that its unknown keys hide, and the lines of all faults.

    `check` is called with the document without its unknown keys. It raises InvalidRequest for further faults.
    """
    try:
        yield
    except InvalidRequest as refused:
        if not refused.faults or any(fault.where != "body" for fault in refused.faults):
            raise
        body, is_yaml = read_document_body()
        reader: DocumentReader = current_app.config[CONFIG_KEY]
        faults = list(refused.faults)
        if all(fault.detail.startswith(UNKNOWN_KEY) for fault in faults):
            document, _ = reader.read_with_places(body, (), is_yaml=is_yaml)
            with suppress(LookupError, ValueError, TypeError):  # the pointer of a fault in a part of several kinds
                for fault in refused.faults:
                    _remove(document, fault.pointer)
                faults += _collect(check, document)
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


def _remove(document: Any, pointer: str) -> None:  # noqa: ANN401 - JSON
    """Remove the key at a pointer."""
    *path, last = (part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:])
    for part in path:
        document = document[int(part)] if isinstance(document, list) else document[part]
    del document[last]


def _to_place(place: tuple[int, int] | None) -> dict[str, Any]:
    return {"line": place[0], "column": place[1]} if place is not None else {}
