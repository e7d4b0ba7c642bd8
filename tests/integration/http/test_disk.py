"""Test that nothing new is accepted when the disk is nearly full, and that the free space is told."""

import dataclasses
import errno
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from api.http.uploads import CHECK_BYTES
from api.ingestion.client import Ingestor
from api.services import EXTENSION, Services
from shared.storage import tracked_files
from shared.storage.disk import DiskReserve
from tests.support.examples import DIGITS
from tests.support.problems import assert_problem
from tests.support.uploads import TABLE, upload_dataset

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def send_form(http: FlaskClient, content: bytes) -> TestResponse:
    """Upload a file. The body is in memory: the client of Flask leaves files open that it makes of large forms."""
    parts = (("name", b"", b"many"), ("file", b'; filename="many.csv"', content))
    form = b"".join(
        b'--x\r\nContent-Disposition: form-data; name="%b"%b\r\n\r\n%b\r\n' % (name.encode(), file, value)
        for name, file, value in parts
    )
    return http.post("/api/v1/datasets", data=form + b"--x--\r\n", content_type="multipart/form-data; boundary=x")


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


def test_an_upload_ends_when_the_disk_fills_while_it_arrives(app: Flask, tmp_path: Path) -> None:
    class FillingDisk(DiskReserve):
        checks = 0

        def check(self) -> None:
            self.checks += 1
            if self.checks > 3:
                self.min_free_bytes = 2**62
            super().check()

    disk = FillingDisk(tmp_path, 0)
    services: Services = app.extensions[EXTENSION]
    app.extensions[EXTENSION] = dataclasses.replace(services, disk=disk)

    answer = send_form(app.test_client(), bytes(5 * CHECK_BYTES))

    assert_problem(answer, 507, "disk-full")
    assert disk.checks == 4


def test_a_file_that_fills_the_disk_is_refused(app: Flask) -> None:
    services: Services = app.extensions[EXTENSION]
    limits = dataclasses.replace(services.ingestor.limits, reserved_bytes=2**62)
    ingestor = Ingestor(limits, services.ingestor._pool)
    app.extensions[EXTENSION] = dataclasses.replace(services, ingestor=ingestor)

    answer = send_form(app.test_client(), b"a,b,label\n" + b"1,2,x\n3,4,y\n" * 500_000)

    assert_problem(answer, 507, "disk-full")


def test_a_write_to_a_full_disk_is_answered_507(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tracked_files, "store_and_reference", write)

    assert_problem(app.test_client().post("/api/v1/jobs", json=DIGITS), 507, "disk-full")


def test_the_readiness_says_that_the_disk_is_full(full: FlaskClient) -> None:
    answer = full.get("/health/ready")

    assert answer.status_code == 503
    assert not answer.json["checks"]["disk"]["ready"]
    assert "TRAINYARD_RESERVED_DISK_BYTES" in answer.json["checks"]["disk"]["detail"]


def test_the_metrics_tell_the_free_space(http: FlaskClient) -> None:
    line = next(line for line in http.get("/metrics").text.splitlines() if line.startswith("trainyard_disk_free_bytes"))

    assert float(line.split()[1]) > 0
