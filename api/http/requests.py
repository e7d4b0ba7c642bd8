"""What a request says, as models: path, query and body, or an InvalidRequest that names the place.

flask-openapi3 reads the same annotations for the OpenAPI document. It would parse by them as well, but JSON alone, by
schemas it makes anew on each request, and without telling broken JSON from none; so `parsed` does that part.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, get_type_hints

from flask import Response, request
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from api.http.bodies import check_values, escape_pointer, read_document
from shared.errors import Fault, InvalidRequest

MAX_FAULTS = 50

View = Callable[..., Response]


Parsed = TypeVar("Parsed", bound=BaseModel)


def parse_request(view: View) -> View:
    """Calls the view with its `path`, `query`, `header` and `body`, each as the model that the view declares."""
    models = get_type_hints(view)

    @wraps(view)
    def call(**path: object) -> Response:
        given: dict[str, BaseModel] = {}
        check_values({name: value for name, value in path.items() if isinstance(value, str)}, "#", 0)
        check_values(request.args.to_dict(), "#", 0)
        if "path" in models:
            given["path"] = validate(models["path"], path)
        if "query" in models:
            given["query"] = validate(models["query"], request.args.to_dict())
        if "header" in models:
            given["header"] = validate(models["header"], _select_headers(models["header"]))
        if "body" in models:
            given["body"] = validate(models["body"], read_document())
        return view(**given)

    call.__delay_validate_request__ = True  # type: ignore[attr-defined]  # tells flask-openapi3 to leave the parsing to us
    return call


def validate(model: type[Parsed], document: object) -> Parsed:
    """Raises InvalidRequest with every fault and its place."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        faults = _collect_faults(error.errors(include_url=False), document)
        raise InvalidRequest("The request does not say what it must.", tuple(faults[:MAX_FAULTS])) from None


def _select_headers(model: type[BaseModel]) -> dict[str, str]:
    names = [field.alias or name for name, field in model.model_fields.items()]
    return {name: request.headers[name] for name in names if name in request.headers}


def _collect_faults(errors: list[ErrorDetails], document: object) -> list[Fault]:
    """One for each place; where a value could have been of several kinds, pydantic says for each why it is not."""
    details: dict[str, list[str]] = {}
    for error in errors:
        message = error["msg"].removeprefix("Value error, ")
        if error["type"] == "extra_forbidden":
            message = "There is no such key here."
        details.setdefault(_build_pointer(error["loc"], document), []).append(message)
    return [Fault(pointer, "; or ".join(dict.fromkeys(messages))) for pointer, messages in details.items()]


def _build_pointer(location: tuple[int | str, ...], document: object) -> str:
    """pydantic's locations also name the kinds it tried, which are no places in the document: they are left out."""
    pointer = "#"
    here: Any = document
    for index, part in enumerate(location):
        inside = (isinstance(here, dict) and part in here) or (
            isinstance(here, list) and isinstance(part, int) and part < len(here)
        )
        if inside:
            here = here[part]
        elif not (isinstance(here, dict) and index == len(location) - 1 and part != "[key]"):
            continue
        pointer += f"/{escape_pointer(str(part))}"
    return pointer
