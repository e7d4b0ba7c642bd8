"""Test that containers let nobody in without a key, from the first admin to a prediction."""

from http import HTTPStatus
from pathlib import Path

import pytest

from tests.support.clients import await_end, submit
from tests.support.examples import XOR
from tests.support.stacks import compose_stack

KEYS = "services: {api: {environment: {TRAINYARD_AUTH: keys}}}"
ADDRESS = "/api/v1/models/xor/predictions"


def test_containers_with_keys(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    if request.config.getoption("--stack") != "compose":
        pytest.skip("needs containers: make e2e-compose")
    file = tmp_path / "keys.yml"
    file.write_text(KEYS)
    with compose_stack("trainyard-e2e-keys", file) as stack:
        early = stack.http.get("/api/v1/models")
        command = [
            "python",
            "-m",
            "api.admin",
            "invite",
            "ada",
            "--role",
            "admin",
            "--url",
            f"http://127.0.0.1:{stack.port}",
        ]
        link = stack.compose("exec", "-T", "api", *command).strip()
        joined = stack.http.post("/api/v1/invitations/acceptance", json={"token": link.partition("#")[2]})
        stack.http.cookies.clear()  # the session
        key = joined.json()["key"]["key"]
        stack.http.headers["Authorization"] = f"Bearer {key}"
        ended = await_end(stack.http, submit(stack.http, XOR))
        stack.restart()
        answers = [stack.http.post(ADDRESS, json={"instances": [[0, 1]]}).status_code]
        del stack.http.headers["Authorization"]
        answers.append(stack.http.post(ADDRESS, json={"instances": [[0, 1]]}).status_code)
        logs = stack.compose("logs", "--no-color")

    assert early.json()["type"].endswith("no-admin-yet")
    assert link.startswith(f"http://127.0.0.1:{stack.port}/ui/join#")
    assert ended["status"] == "succeeded"
    assert answers == [HTTPStatus.OK, HTTPStatus.UNAUTHORIZED]
    assert key not in logs
    assert link.partition("#")[2] not in logs
