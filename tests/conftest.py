import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--stack",
        choices=("local", "compose"),
        default="local",
        help="what the end-to-end tests run against: processes on this machine, or `docker compose up`",
    )
