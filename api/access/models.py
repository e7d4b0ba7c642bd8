"""Find out whether a caller may see and ask a model, from the project that the model is in."""

from api.access.callers import Caller, make_missing_model
from api.access.gate import Gate
from shared.access.rights import Scope
from shared.database.tables.registry import PUBLIC


def check_model(gate: Gate, caller: Caller, model: str, need: Scope) -> None:
    """Check that a caller has a scope on a model, and that its key includes the model.

    Raises NotAllowed, and ModelNotFound for a model that the caller may not see or that does not exist, in the same
    words.
    """
    if not caller.includes(model):
        raise make_missing_model(model)
    if caller.sees_all:
        return
    found = gate.find_model(model)
    if found is None:
        raise make_missing_model(model)
    if found.project in caller.roles:
        caller.check(need, found.project)
    elif need is not Scope.PREDICT or found.predictions != PUBLIC:
        raise make_missing_model(model)
    if need is Scope.PREDICT:
        caller.allow_predictions(model)


def admit_anyone(gate: Gate, model: str) -> Caller | None:
    """Return the caller of a request without a key, if everybody may ask the model for predictions; else None."""
    if not gate.anyone.may_predict(model):
        found = gate.find_model(model)
        if found is None or found.predictions != PUBLIC:
            return None
        gate.anyone.allow_predictions(model)
    return gate.anyone
