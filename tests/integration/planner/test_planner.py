"""Test the planning process: when it dies, takes too long, refuses, or cannot start."""

import os
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from api.planner.client import Planner
from api.planner.messages import LayerOutputRequest, PlanRequest
from shared.errors import InvalidRequest, PlanningUnavailable
from shared.spec.training import TrainingSpec
from tests.support.examples import DIGITS, changed
from tests.support.waiting import wait_for

REFUSE_SLOWLY = """
import time
from shared.processes.child import serve_messages
from shared.processes.messages import Message
def respond(message):
    time.sleep(60 if b'"model":"slow"' in message.head else 0)
    return Message(b'{"refusal": {"detail": "It is refused.", "faults": []}}')
serve_messages(lambda: respond)
"""
SPEC = TrainingSpec.model_validate(DIGITS)


@pytest.fixture
def refusing() -> Iterator[Planner]:
    """Provide a planner whose process refuses every request, and does so too late for the model `slow`."""
    planner = Planner(
        1000,
        2**30,
        plan_seconds=0.5,
        processes=1,
        wait_seconds=0.2,
        max_waiting=2,
        command=[sys.executable, "-c", REFUSE_SLOWLY],
    )
    yield planner
    planner.close()


def test_a_planning_process_that_dies_is_replaced(planner: Planner) -> None:
    plan = planner.plan(PlanRequest(spec=SPEC))
    for running in [process._process for process in planner.pool.processes if process._process is not None]:
        os.kill(running.pid, signal.SIGKILL)
        running.wait()

    assert [planner.plan(PlanRequest(spec=SPEC)) for _ in range(3)] == [plan] * 3


def test_a_spec_waits_a_bounded_time_and_the_next_is_answered(refusing: Planner) -> None:
    with pytest.raises(PlanningUnavailable, match=r"took longer than 0\.5 s"):
        refusing.plan(PlanRequest(spec=SPEC.model_copy(update={"model": "slow"})))

    with pytest.raises(InvalidRequest, match=r"It is refused\."):
        refusing.plan(PlanRequest(spec=SPEC))


def test_a_refusal_of_a_layer_output_is_raised(refusing: Planner, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"It is refused\."):
        refusing.compute_layer_output(LayerOutputRequest(folder=tmp_path, input_shape=(2,), layer="dense"))


def test_other_specs_wait_a_bounded_time_for_a_slow_one(refusing: Planner) -> None:
    with pytest.raises(InvalidRequest, match=r"It is refused\."):
        refusing.plan(PlanRequest(spec=SPEC))
    with ThreadPoolExecutor(4) as threads:
        slow = threads.submit(refusing.plan, PlanRequest(spec=SPEC.model_copy(update={"model": "slow"})))
        wait_for(lambda: not refusing.pool._free)
        others = [threads.submit(refusing.plan, PlanRequest(spec=SPEC)) for _ in range(3)]

        reasons = sorted(str(other.exception()) for other in others)

    assert [type(other.exception()) for other in others] == [PlanningUnavailable] * 3
    assert reasons[0].startswith("2 requests wait for planning, the limit")
    assert reasons[1].startswith("The request waited 0.2 s for planning, the limit")
    assert "took longer" in str(slow.exception())


def test_an_unexpected_exception_is_a_refusal(planner: Planner, tmp_path: Path) -> None:
    request = LayerOutputRequest(folder=tmp_path / "missing", input_shape=(2,), layer="dense")

    with pytest.raises(InvalidRequest, match="cannot be planned: FileNotFoundError"):
        planner.compute_layer_output(request)


def test_planning_is_unavailable_if_the_process_cannot_start() -> None:
    planner = Planner(1000, 2**30, command=[sys.executable, "-c", "raise SystemExit('no Keras')"])

    with pytest.raises(PlanningUnavailable):
        planner.plan(PlanRequest(spec=SPEC))


def test_images_that_would_be_too_large_are_refused_with_their_number(planner: Planner) -> None:
    spec = changed(
        changed(DIGITS, "dataset", {"name": "mnist"}), "preprocessing", {"size": [1024, 1024], "color": "rgb"}
    )

    with pytest.raises(InvalidRequest) as refused:
        planner.plan(PlanRequest(spec=TrainingSpec.model_validate(spec)))

    (fault,) = refused.value.faults
    assert fault.pointer == "#/preprocessing/size"
    assert "70,000 images of 1024 × 1024 × 3 take 220,200,960,000 bytes" in fault.detail


def test_a_plan_has_a_limit_of_processor_time() -> None:
    code = """
import api.planner.process.__main__ as process
process.MAX_PLAN_CPU_SECONDS = -1  # less than it has taken to start
process.main(10**9, 2**30)
"""
    planner = Planner(1000, 2**30, processes=1, command=[sys.executable, "-c", code])
    layers = [DIGITS["network"]["layers"][0], *[{"layer": "Dense", "units": 10}] * 300]
    deep = TrainingSpec.model_validate(changed(DIGITS, "network.layers", layers))  # the kernel looks now and then

    with pytest.raises(InvalidRequest, match="planning took more processor time than its limit"):
        planner.plan(PlanRequest(spec=deep))

    planner.close()


def test_a_plan_names_its_layers_as_a_training_does(planner: Planner) -> None:
    bad = changed(DIGITS, "network.layers.1", {"layer": "Dense", "units": 10, "activation": "zork"})
    with pytest.raises(InvalidRequest):
        planner.plan(PlanRequest(spec=TrainingSpec.model_validate(bad)))
    named = SPEC.model_copy(update={"model": "named"})
    plans = [planner.plan(PlanRequest(spec=named.model_copy(update={"notes": str(n)}))) for n in range(8)]

    assert {plan.layers[-1].name for plan in plans} == {"dense"}


def test_nothing_is_reported_about_the_use_of_openvino(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenVINO notes in the home folder that it may report, before it does."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("CI", raising=False)
    planner = Planner(10**9, 2**30, processes=1)

    planner.plan(PlanRequest(spec=SPEC))

    planner.close()
    assert "intel" not in [path.name for path in tmp_path.iterdir()]
