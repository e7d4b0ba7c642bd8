from api.http.problems import STATUS, to_problem
from shared import errors
from shared.errors import Fault, InvalidRequest, ServiceError, TrainingFailure, TrainyardError


def list_subclasses(base: type[TrainyardError]) -> list[type[TrainyardError]]:
    return [
        error
        for error in vars(errors).values()
        if isinstance(error, type) and issubclass(error, base) and error is not base
    ]


def test_every_service_error_has_a_status() -> None:
    assert set(STATUS) == set(list_subclasses(ServiceError))


def test_every_problem_kind_is_unique() -> None:
    kinds = [error.kind for error in list_subclasses(ServiceError) + list_subclasses(TrainingFailure)]

    assert len(kinds) == len(set(kinds))


def test_detail_names_the_first_fault_and_errors_lists_all() -> None:
    faults = (Fault("#/a", "Too few."), Fault("#/b", "Too many."))

    problem = to_problem(InvalidRequest("Not so.", faults))

    assert problem.detail == "Not so. #/a: Too few. More faults in `errors`: 1."
    assert problem.errors is not None
    assert [fault.pointer for fault in problem.errors] == ["#/a", "#/b"]
