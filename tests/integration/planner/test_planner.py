"""Test the planning process: when it dies, takes too long, refuses, or cannot start."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.planner.client import Planner
from api.planner.messages import LayerOutputRequest, PlanRequest
from shared.errors import InvalidRequest, PlanningUnavailable
from shared.spec.training import TrainingSpec
from tests.support.examples import DIGITS

REFUSE_SLOWLY = """
import sys, time
print("ready", flush=True)
for line in sys.stdin:
    time.sleep(60 if '"model":"slow"' in line else 0)
    print('{"refusal": {"detail": "It is refused.", "faults": []}}', flush=True)
"""
SPEC = TrainingSpec.model_validate(DIGITS)


@pytest.fixture
def refusing() -> Iterator[Planner]:
    """Provide a planner whose process refuses every request, and does so too late for the model `slow`."""
    planner = Planner(1000, answer_seconds=0.5, command=[sys.executable, "-c", REFUSE_SLOWLY])
    yield planner
    planner.close()


def test_a_planning_process_that_dies_is_replaced(planner: Planner) -> None:
    plan = planner.plan(PlanRequest(spec=SPEC))
    assert planner._process is not None
    os.kill(planner._process.pid, signal.SIGKILL)

    assert planner.plan(PlanRequest(spec=SPEC)) == plan


def test_a_spec_that_takes_too_long_is_refused_and_the_next_is_answered(refusing: Planner) -> None:
    with pytest.raises(InvalidRequest, match=r"took longer than 0\.5 s"):
        refusing.plan(PlanRequest(spec=SPEC.model_copy(update={"model": "slow"})))

    with pytest.raises(InvalidRequest, match=r"It is refused\."):
        refusing.plan(PlanRequest(spec=SPEC))


def test_a_refusal_of_a_layer_output_is_raised(refusing: Planner, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"It is refused\."):
        refusing.compute_layer_output(LayerOutputRequest(folder=tmp_path, input_shape=(2,), layer="dense"))


def test_planning_is_unavailable_if_the_process_cannot_start() -> None:
    planner = Planner(1000, command=[sys.executable, "-c", "raise SystemExit('no Keras')"])

    with pytest.raises(PlanningUnavailable):
        planner.plan(PlanRequest(spec=SPEC))
