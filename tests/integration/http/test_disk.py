"""Test that nothing new is accepted when the disk is nearly full, and that the free space is told."""

import dataclasses
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from api.services import EXTENSION, Services
from shared.storage.disk import DiskReserve
from tests.support.examples import DIGITS
from tests.support.problems import assert_problem
from tests.support.uploads import TABLE, upload_dataset

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def full(app: Flask, tmp_path: Path) -> FlaskClient:
    """Provide the client of an API whose reserve is larger than the disk."""
    services: Services = app.extensions[EXTENSION]
    app.extensions[EXTENSION] = dataclasses.replace(services, disk=DiskReserve(tmp_path / "missing", 2**62))
    return app.test_client()


def test_new_jobs_and_uploads_are_refused(full: FlaskClient) -> None:
    assert_problem(full.post("/api/v1/jobs", json=DIGITS), 507, "disk-full")
    assert_problem(upload_dataset(full, TABLE.encode()), 507, "disk-full")
    assert_problem(full.post("/api/v1/models/digits/batch-predictions", json={"dataset": "x"}), 507, "disk-full")
    assert full.post("/api/v1/jobs?dry_run=true", json=DIGITS).status_code == 200


def test_the_readiness_says_that_the_disk_is_full(full: FlaskClient) -> None:
    answer = full.get("/health/ready")

    assert answer.status_code == 503
    assert not answer.json["checks"]["disk"]["ready"]
    assert "TRAINYARD_RESERVED_DISK_BYTES" in answer.json["checks"]["disk"]["detail"]


def test_the_metrics_tell_the_free_space(http: FlaskClient) -> None:
    line = next(line for line in http.get("/metrics").text.splitlines() if line.startswith("trainyard_disk_free_bytes"))

    assert float(line.split()[1]) > 0
