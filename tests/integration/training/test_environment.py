"""Test how TensorFlow starts in a worker."""

import os
import subprocess
import sys

import pytest

from tests.support.stacks import ROOT

ASK = """
from worker.process.environment import set_tensorflow_environment
set_tensorflow_environment()
from tensorflow.python.framework.test_util import IsMklEnabled
print(IsMklEnabled())
"""


@pytest.mark.parametrize(("given", "wanted"), [({}, "True"), ({"TF_ENABLE_ONEDNN_OPTS": "0"}, "False")])
def test_convolutions_of_onednn_are_used_unless_the_environment_refuses(given: dict[str, str], wanted: str) -> None:
    kept = {key: value for key, value in os.environ.items() if key != "TF_ENABLE_ONEDNN_OPTS"}

    command = [sys.executable, "-c", ASK]
    answer = subprocess.run(command, cwd=ROOT, env={**kept, **given}, capture_output=True, text=True, check=True).stdout

    assert answer.split() == [wanted]
