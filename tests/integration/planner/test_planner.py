"""Test the planning process: when it dies, takes too long, or cannot start."""

import os
import signal
import sys

import pytest

from api.planner import client as planner_module
from api.planner.client import Planner
from api.planner.messages import PlanRequest
from shared.errors import InvalidRequest, PlanningUnavailable
from shared.spec.training import TrainingSpec
from tests.support.examples import DIGITS


def test_a_planning_process_that_dies_is_replaced(planner: Planner) -> None:
    spec = TrainingSpec.model_validate(DIGITS)
    plan = planner.plan(PlanRequest(spec=spec))
    assert planner._process is not None
    os.kill(planner._process.pid, signal.SIGKILL)

    assert planner.plan(PlanRequest(spec=spec)) == plan


def test_a_spec_that_takes_too_long_is_refused_and_the_next_is_planned(
    planner: Planner, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = TrainingSpec.model_validate(DIGITS)
    planner.plan(PlanRequest(spec=spec))
    assert planner._process is not None
    os.kill(planner._process.pid, signal.SIGSTOP)
    with monkeypatch.context() as patch:
        patch.setattr(planner_module, "ANSWER_TIMEOUT_SECONDS", 0.1)
        patch.setattr(planner, "_await_readiness", lambda _: None)  # the new process imports for longer than 0.1 s
        with pytest.raises(InvalidRequest, match="took longer"):
            planner.plan(PlanRequest(spec=spec))

    assert planner.plan(PlanRequest(spec=spec)).parameters == 650


def test_planning_is_unavailable_if_the_process_cannot_start(monkeypatch: pytest.MonkeyPatch) -> None:
    planner = Planner(max_parameters=1000)
    monkeypatch.setattr(planner, "_command", [sys.executable, "-c", "raise SystemExit('no Keras')"])

    with pytest.raises(PlanningUnavailable):
        planner.plan(PlanRequest(spec=TrainingSpec.model_validate(DIGITS)))
