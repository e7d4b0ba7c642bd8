"""Kill and restart programs: every accepted job still ends and publishes one version."""

import httpx
import pytest

from tests.support.clients import Json, await_end, await_status, show, submit
from tests.support.examples import DENSE_SOFTMAX, DIGITS, changed
from tests.support.stacks import ComposeStack, LocalStack, Stack
from tests.support.waiting import wait_for

SHORT_JOB: Json = changed(changed(DIGITS, "training.epochs", 60), "model", "survivor")
DETERMINISTIC_JOB: Json = {
    **DIGITS,
    "model": "deterministic",
    "dataset": {"name": "digits"},
    "network": {
        "layers": [
            {"layer": "Conv2D", "filters": 64, "kernel_size": 3, "activation": "relu", "padding": "same"},
            {"layer": "Flatten"},
            {"layer": "Dropout", "rate": 0.4},
            {"layer": "Dense", "units": 128, "activation": "relu"},
            DENSE_SOFTMAX,
        ]
    },
    "training": {"epochs": 24, "batch_size": 16, "deterministic": True},
}
LONG_JOB: Json = changed(DIGITS, "training.epochs", 20_000)


def list_versions(http: httpx.Client, job: Json) -> list[int]:
    """List the numbers of the versions that the job has published."""
    versions = f"/api/v1/models/{job['model']}/versions"
    numbers = [version["version"] for version in http.get(f"{versions}?limit=100").json()["versions"]]
    return [number for number in numbers if http.get(f"{versions}/{number}").json()["lineage"]["job"] == job["id"]]


@pytest.mark.parametrize("program", ["api", "worker", "scheduler", "redis"])
def test_running_and_queued_jobs_survive_a_killed_program(stack: Stack, program: str) -> None:
    running, waiting = submit(stack.http, SHORT_JOB), submit(stack.http, SHORT_JOB)
    await_status(stack.http, running, "running")

    stack.kill(program)

    for job in (running, waiting):
        ended = await_end(stack.http, job)
        assert ended["status"] == "succeeded", ended["error"]
        assert list_versions(stack.http, job) == [ended["version"]]


def test_job_submitted_after_redis_is_killed_succeeds(stack: Stack) -> None:
    stack.kill("redis")
    job = submit(stack.http, SHORT_JOB)

    assert await_end(stack.http, job)["status"] == "succeeded"


def test_restart_loses_no_job_and_no_version(stack: Stack) -> None:
    before = submit(stack.http, SHORT_JOB)
    version = await_end(stack.http, before)["version"]
    running, waiting = submit(stack.http, SHORT_JOB), submit(stack.http, SHORT_JOB)
    await_status(stack.http, running, "running")

    stack.restart()

    for job in (running, waiting):
        assert await_end(stack.http, job)["status"] == "succeeded"
    assert list_versions(stack.http, before) == [version]


def test_worker_runs_the_next_job_after_a_cancellation(stack: Stack) -> None:
    running, waiting = submit(stack.http, LONG_JOB), submit(stack.http, DIGITS)
    await_status(stack.http, running, "running")

    assert stack.http.post(f"/api/v1/jobs/{running['id']}/cancellation").status_code in (200, 202)

    assert await_end(stack.http, running)["status"] == "cancelled"
    assert await_end(stack.http, waiting)["status"] == "succeeded"


def test_training_killed_five_times_ends_with_the_same_weights(stack: Stack) -> None:
    if not isinstance(stack, LocalStack):
        pytest.skip("runs only in `make e2e`: processes in a container are not visible from outside")
    undisturbed = await_end(stack.http, submit(stack.http, DETERMINISTIC_JOB))
    job = submit(stack.http, DETERMINISTIC_JOB)

    epoch = 0
    for attempt in range(1, 6):
        epoch = await_checkpoint(stack.http, job, attempt, epoch + 1)
        for training in stack.program("worker").children():  # one of them is the spare one
            training.kill()

    ended = await_end(stack.http, job)
    assert (ended["status"], ended["attempt"]) == ("succeeded", 6), ended["error"]
    assert get_weights_digest(stack.http, ended) == get_weights_digest(stack.http, undisturbed)


def test_terminated_worker_requeues_its_job_with_a_checkpoint(stack: Stack) -> None:
    if not isinstance(stack, LocalStack):
        pytest.skip("runs only in `make e2e`: the test of a restart covers containers")
    undisturbed = await_end(stack.http, submit(stack.http, DETERMINISTIC_JOB))
    job = submit(stack.http, DETERMINISTIC_JOB)
    await_checkpoint(stack.http, job, attempt=1, epoch=1)

    stack.program("worker").terminate()

    requeued = await_status(stack.http, job, "queued")
    assert requeued["checkpoint_epoch"] >= 1
    ended = await_end(stack.http, job)
    assert (ended["status"], ended["attempt"]) == ("succeeded", 2)
    assert get_weights_digest(stack.http, ended) == get_weights_digest(stack.http, undisturbed)


def get_weights_digest(http: httpx.Client, job: Json) -> str:
    return str(http.get(f"/api/v1/models/{job['model']}/versions/{job['version']}").json()["weights_digest"])


def await_checkpoint(http: httpx.Client, job: Json, attempt: int, epoch: int) -> int:
    """Wait until this attempt has a checkpoint of this epoch or a later one. Return the epoch of the checkpoint."""

    def has_checkpoint() -> bool:
        shown = show(http, job)
        assert shown["status"] in ("queued", "running"), shown["error"]
        return bool(shown["attempt"] == attempt and shown["checkpoint_epoch"] >= epoch)

    wait_for(has_checkpoint, 120)
    return int(show(http, job)["checkpoint_epoch"])


def test_job_fails_after_its_training_process_is_killed_three_times(stack: Stack) -> None:
    """Kill the training process as the kernel does when memory is exhausted."""
    if not isinstance(stack, LocalStack):
        pytest.skip("runs only in `make e2e`: processes in a container are not visible from outside")
    job = submit(stack.http, LONG_JOB)

    for attempt in (1, 2, 3):
        await_attempt(stack.http, job, attempt)
        for training in stack.program("worker").children():  # one of them is the spare one
            training.kill()

    ended = await_end(stack.http, job)
    assert ended["status"] == "failed"
    assert ended["error"]["type"] == "/problems/attempts-used-up"


def await_attempt(http: httpx.Client, job: Json, attempt: int) -> None:
    wait_for(lambda: (shown := show(http, job))["status"] == "running" and shown["attempt"] == attempt, 60)


def test_only_the_api_publishes_a_port(stack: Stack) -> None:
    if not isinstance(stack, ComposeStack):
        pytest.skip("runs only in `make e2e-compose`: it tests the containers")

    published = stack.compose("ps", "--format", "{{.Service}} {{.Ports}}")

    addresses = [line for line in published.splitlines() if "->" in line]
    assert [line.split()[0] for line in addresses] == ["api"]
    assert f"127.0.0.1:{stack.port}->8000/tcp" in addresses[0]


def test_api_image_has_no_tensorflow_and_no_service_runs_as_root(stack: Stack) -> None:
    if not isinstance(stack, ComposeStack):
        pytest.skip("runs only in `make e2e-compose`: it tests the containers")
    code = "import importlib.util, os; print(importlib.util.find_spec('tensorflow') is not None, os.getuid() == 0)"

    found = {service: stack.compose("exec", service, "python", "-c", code).split() for service in ("api", "worker")}

    assert found == {"api": ["False", "False"], "worker": ["True", "False"]}
