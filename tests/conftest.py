"""Define the command line option `--stack` of the tests."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--stack",
        choices=("local", "compose"),
        default="local",
        help="the system that the end-to-end tests run against: processes on this machine, or `docker compose up`",
    )
