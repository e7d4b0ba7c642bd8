"""Define the command line option `--stack` of the tests, and let TensorFlow start as in a worker."""

import pytest

from worker.process.environment import set_tensorflow_environment

set_tensorflow_environment(onednn=True)  # tests train in their own process too


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--stack",
        choices=("local", "compose"),
        default="local",
        help="the system that the end-to-end tests run against: processes on this machine, or `docker compose up`",
    )
