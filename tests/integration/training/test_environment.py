"""Test how TensorFlow starts in a worker."""

import subprocess
import sys

import pytest

from tests.support.stacks import ROOT

ASK = """
from worker.process.environment import set_tensorflow_environment
set_tensorflow_environment(onednn={onednn})
from tensorflow.python.framework.test_util import IsMklEnabled
print(IsMklEnabled())
"""


@pytest.mark.parametrize("onednn", [True, False])
def test_operations_of_onednn_are_used_unless_the_setting_forbids_it(onednn: bool) -> None:  # noqa: FBT001
    command = [sys.executable, "-c", ASK.format(onednn=onednn)]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert answer.split() == [str(onednn)]
