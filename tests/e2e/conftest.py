"""Start the service that the end-to-end tests use."""

from collections.abc import Iterator

import httpx
import pytest

from tests.support.stacks import Stack, compose_stack, local_stack


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Start the service once for all end-to-end tests, as `--stack` says."""
    if request.config.getoption("--stack") == "compose":
        with compose_stack() as containers:
            yield containers
    else:
        with local_stack(tmp_path_factory.mktemp("stack")) as processes:
            yield processes


@pytest.fixture
def http(stack: Stack) -> httpx.Client:
    """Return a client of the service."""
    return stack.http
