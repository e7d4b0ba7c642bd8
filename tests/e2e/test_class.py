"""Test a whole class: 200 students by a table, thirty scripts at once, and no secret anywhere afterwards."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from tests.support.examples import XOR
from tests.support.stacks import ROOT, LocalStack, free_port, local_stack
from tests.support.waiting import wait_for

STUDENTS, SCRIPTS = 200, 30


@dataclass(frozen=True)
class Class:
    """A service in which people sign in, its folder, and the key of its admin."""

    stack: LocalStack
    folder: Path
    key: str

    def call(self, method: str, path: str, key: str | None = None, **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key or self.key}", **options.pop("headers", {})}
        address = f"http://127.0.0.1:{self.stack.port}/api/v1{path}"
        return httpx.request(method, address, headers=headers, timeout=60, **options)


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Class]:
    folder = tmp_path_factory.mktemp("school")
    settings = {"TRAINYARD_AUTH": "keys", "TRAINYARD_MODEL_NAMES": "per-user"}
    with local_stack(folder, **settings) as stack:
        yield Class(stack, folder, stack.accept(stack.invite("ada", "--role", "admin")))


def test_a_class_of_two_hundred(school: Class) -> None:
    school.call("PUT", "/projects/north", json={}).raise_for_status()
    school.call("PUT", "/projects/south", json={}).raise_for_status()
    rows = [f"s{index:03};Jörg Weiß {index};member;{'north' if index % 2 else 'south'}" for index in range(STUDENTS)]
    table = "\ufefflogin;name;role;project\r\n" + "\r\n".join(rows) + "\r\n"
    twice = school.call(
        "POST", "/invitations", content=(table + rows[0]).encode(), headers={"Content-Type": "text/csv"}
    )
    assert twice.status_code == 422
    assert f"Line {STUDENTS + 2}, 's000'" in twice.json()["errors"][0]["detail"]
    made = school.call("POST", "/invitations", content=table.encode(), headers={"Content-Type": "text/csv"}).json()
    tokens = [one["link"].partition("#")[2] for one in made["invitations"]]
    assert len(set(tokens)) == STUDENTS

    with ThreadPoolExecutor(SCRIPTS) as pool:
        students = list(pool.map(lambda token: run_script(school, token), tokens[:SCRIPTS]))

    models = {model for _, _, model, _ in students}
    assert models == {f"xor.s{index:03}" for index in range(SCRIPTS)}
    wait_for(lambda: all_ended(school), seconds=240)
    for login, key, model, job_id in students:
        document = school.call("GET", f"/jobs/{job_id}", key).json()
        assert (document["status"], document["owner"], document["version"]) == ("succeeded", login, 1)
        own = school.call("GET", "/models", key, params={"limit": 200}).json()["models"]
        assert {one["name"] for one in own} == {name for name in models if int(name[-3:]) % 2 == int(login[-3:]) % 2}
        answer = school.call("POST", f"/models/{model}/predictions", key, json={"instances": [[0, 1]]})
        assert answer.status_code == 200
    used = school.call("GET", "/usage").json()["usage"]
    assert {row["owner"]: row["attempts"] for row in used} == {login: 1 for login, *_ in students}


def run_script(school: Class, token: str) -> tuple[str, str, str, str]:
    """Join, and post the recipe that everybody posts. Returns the login, the key, the model and the job."""
    joined = school.stack.http.post("/api/v1/invitations/acceptance", json={"token": token}).json()
    key, login = joined["key"]["key"], joined["user"]["login"]
    job = school.call("POST", "/jobs", key, json=XOR)
    assert job.status_code == 202, job.text
    return login, key, job.json()["model"], job.json()["id"]


def all_ended(school: Class) -> bool:
    waiting = school.call("GET", "/jobs", params={"status": "queued,running", "limit": 1}).json()["jobs"]
    return not waiting


def test_quotas_hold_when_a_hundred_come_at_once(school: Class) -> None:
    made = school.call("POST", "/invitations", json=[{"login": "greedy", "project": "north"}]).json()["invitations"]
    key = school.stack.accept(made[0]["link"])
    school.call("PUT", "/users/greedy/quotas", json={"queued_jobs": 7, "running_jobs": 0}).raise_for_status()

    def submit(_: int) -> int:
        return school.call("POST", "/jobs", key, json={**XOR, "training": {"epochs": 1, "loss": "mse"}}).status_code

    with ThreadPoolExecutor(20) as pool:
        statuses = list(pool.map(submit, range(100)))

    assert (statuses.count(202), statuses.count(429)) == (7, 93)


def test_no_secret_is_stored_or_logged(school: Class) -> None:
    made = school.call("POST", "/keys", json={"name": "secret"}).json()["key"]
    school.call("GET", "/jobs", made)
    school.stack.http.get("/api/v1/jobs", headers={"Authorization": "Bearer wrong-ty_secret"})
    page = httpx.post(f"http://127.0.0.1:{school.stack.port}/api/v1/sessions", json={"key": made})
    cookie = page.headers["Set-Cookie"].partition("=")[2].partition(";")[0]

    secrets = [school.key.encode(), made.encode(), cookie.encode(), b"wrong-ty_secret"]
    files = [path for path in school.folder.rglob("*") if path.is_file()]
    found = [(path, secret) for path in files for secret in secrets if secret in path.read_bytes()]

    assert len(files) > 20
    assert found == []
    audit = school.call("GET", "/audit.jsonl").text
    assert not [secret for secret in secrets if secret.decode() in audit]


@contextmanager
def second_api(school: Class) -> Iterator[int]:
    """Run another process of the API on the same database. Yields its port."""
    port = free_port()
    environment = {
        **os.environ,
        "TRAINYARD_AUTH": "keys",
        "TRAINYARD_DATA_DIR": str(school.folder),
        "TRAINYARD_PORT": str(port),
    }
    with (school.folder / "logs" / "second.log").open("w") as log:
        process = subprocess.Popen([sys.executable, "-m", "api"], cwd=ROOT, env=environment, stderr=log, stdout=log)
        try:
            wait_for(lambda: is_alive(port), seconds=120)
            yield port
        finally:
            process.terminate()
            process.wait(60)


def is_alive(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health/live").is_success
    except httpx.TransportError:
        return False


def test_a_revoked_key_ends_in_every_process(school: Class) -> None:
    job = school.call("POST", "/jobs", json={**XOR, "model": "served"}).json()
    wait_for(lambda: school.call("GET", f"/jobs/{job['id']}").json()["status"] == "succeeded", seconds=240)
    made = school.call("POST", "/keys", json={"name": "demo", "models": ["served"]}).json()
    given = triton.InferInput("input", [1, 2], "FP32")
    given.set_data_from_numpy(np.array([[0, 1]], np.float32))

    def predict(port: int) -> None:
        with triton.InferenceServerClient(f"127.0.0.1:{port}") as client:
            client.infer("served", [given], headers={"Authorization": f"Bearer {made['key']}"})

    def is_refused(port: int) -> bool:
        try:
            predict(port)
        except InferenceServerException as error:
            return bool(error.status() == "401")
        return False

    with second_api(school) as port:
        for one in (school.stack.port, port):
            predict(one)
        school.call("DELETE", f"/keys/{made['id']}").raise_for_status()

        wait_for(lambda: is_refused(port), seconds=10)
        assert is_refused(school.stack.port)
