from api.http.problems import STATUS, to_problem
from shared import errors
from shared.errors import Fault, InvalidRequest, ServiceError, TrainingFailure, TrainyardError


def kinds_of(base: type[TrainyardError]) -> list[type[TrainyardError]]:
    return [
        error
        for error in vars(errors).values()
        if isinstance(error, type) and issubclass(error, base) and error is not base
    ]


def test_every_service_error_has_a_status() -> None:
    assert set(STATUS) == set(kinds_of(ServiceError))


def test_every_problem_has_a_name_of_its_own() -> None:
    names = [error.kind for error in kinds_of(ServiceError) + kinds_of(TrainingFailure)]

    assert len(names) == len(set(names))


def test_the_first_fault_stands_in_the_sentence_and_all_in_the_list() -> None:
    faults = (Fault("#/a", "Too few."), Fault("#/b", "Too many."))

    problem = to_problem(InvalidRequest("Not so.", faults))

    assert problem.detail == "Not so. #/a: Too few. More faults in `errors`: 1."
    assert problem.errors is not None
    assert [index.pointer for index in problem.errors] == ["#/a", "#/b"]
