"""Fuzz every operation of the OpenAPI document with valid and invalid requests."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.clients import await_end, submit
from tests.support.examples import DIGITS, changed
from tests.support.stacks import local_stack

EXAMPLES = 12
MAX_SECONDS = 300
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


def test_every_operation_conforms_to_the_openapi_document(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    if request.config.getoption("--stack") == "compose":
        pytest.skip("runs only in `make e2e`, with a separate service: it submits jobs and deletes versions")
    with local_stack(tmp_path / "stack") as stack:
        jobs = [await_end(stack.http, submit(stack.http, changed(DIGITS, "model", "fuzzed"))) for _ in range(2)]
        names = {"model": "fuzzed", "reference": "latest", "job_id": jobs[0]["id"], "alias": "candidate"}
        config = tmp_path / "schemathesis.toml"
        config.write_text("[parameters]\n" + "".join(f'"path.{name}" = "{value}"\n' for name, value in names.items()))

        result = subprocess.run(
            [
                *(str(Path(sys.executable).with_name("schemathesis")), f"--config-file={config}", "run"),
                *(f"{stack.http.base_url}/openapi.json", f"--checks={CHECKS}", f"--max-examples={EXAMPLES}"),
                *("--exclude-path-regex=/events$", "--continue-on-failure", "--seed=1", "--request-timeout=20"),
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=MAX_SECONDS,
            check=False,
        )

        assert result.returncode == 0, result.stdout[-10_000:] + result.stderr
        assert stack.http.get("/health/ready").status_code == 200
