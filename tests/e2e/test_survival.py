"""Whatever is killed or restarted, an accepted job ends, or waits for its turn; and it is published once."""

import httpx
import pytest

from tests.support.clients import Json, await_end, await_status, show, submit
from tests.support.examples import DENSE_SOFTMAX, DIGITS, changed
from tests.support.stacks import ComposeStack, LocalStack, Stack
from tests.support.waiting import wait_for

SOME_SECONDS: Json = changed(changed(DIGITS, "training.epochs", 60), "model", "survivor")
DETERMINISTIC: Json = {
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
MANY_SECONDS: Json = changed(DIGITS, "training.epochs", 20_000)


def versions_of(http: httpx.Client, job: Json) -> list[int]:
    versions = f"/api/v1/models/{job['model']}/versions"
    numbers = [version["version"] for version in http.get(f"{versions}?limit=100").json()["versions"]]
    return [number for number in numbers if http.get(f"{versions}/{number}").json()["lineage"]["job"] == job["id"]]


@pytest.mark.parametrize("program", ["api", "worker", "scheduler", "redis"])
def test_a_running_and_a_waiting_job_outlive_what_is_killed(stack: Stack, program: str) -> None:
    running, waiting = submit(stack.http, SOME_SECONDS), submit(stack.http, SOME_SECONDS)
    await_status(stack.http, running, "running")

    stack.kill(program)

    for job in (running, waiting):
        ended = await_end(stack.http, job)
        assert ended["status"] == "succeeded", ended["error"]
        assert versions_of(stack.http, job) == [ended["version"]]


def test_a_job_accepted_while_redis_is_away_is_run_when_it_is_back(stack: Stack) -> None:
    stack.kill("redis")
    job = submit(stack.http, SOME_SECONDS)

    assert await_end(stack.http, job)["status"] == "succeeded"


def test_a_restart_loses_nothing(stack: Stack) -> None:
    before = submit(stack.http, SOME_SECONDS)
    version = await_end(stack.http, before)["version"]
    running, waiting = submit(stack.http, SOME_SECONDS), submit(stack.http, SOME_SECONDS)
    await_status(stack.http, running, "running")

    stack.restart()

    for job in (running, waiting):
        assert await_end(stack.http, job)["status"] == "succeeded"
    assert versions_of(stack.http, before) == [version]


def test_a_running_job_is_cancelled_and_the_worker_goes_on(stack: Stack) -> None:
    running, waiting = submit(stack.http, MANY_SECONDS), submit(stack.http, DIGITS)
    await_status(stack.http, running, "running")

    assert stack.http.post(f"/api/v1/jobs/{running['id']}/cancellation").status_code in (200, 202)

    assert await_end(stack.http, running)["status"] == "cancelled"
    assert await_end(stack.http, waiting)["status"] == "succeeded"


def test_a_training_that_is_killed_five_times_comes_to_the_same_weights(stack: Stack) -> None:
    if not isinstance(stack, LocalStack):
        pytest.skip("the processes in a container cannot be told apart from outside: `make e2e` runs this")
    undisturbed = await_end(stack.http, submit(stack.http, DETERMINISTIC))
    job = submit(stack.http, DETERMINISTIC)

    epoch = 0
    for attempt in range(1, 6):
        epoch = await_checkpoint(stack.http, job, attempt, epoch + 1)
        (training,) = stack.program("worker").children()
        training.kill()

    ended = await_end(stack.http, job)
    assert (ended["status"], ended["attempt"]) == ("succeeded", 6), ended["error"]
    assert digest(stack.http, ended) == digest(stack.http, undisturbed)


def test_a_worker_that_is_told_to_end_hands_its_job_back_with_a_checkpoint(stack: Stack) -> None:
    if not isinstance(stack, LocalStack):
        pytest.skip("a container is restarted by the test of a restart: `make e2e` runs this")
    undisturbed = await_end(stack.http, submit(stack.http, DETERMINISTIC))
    job = submit(stack.http, DETERMINISTIC)
    await_checkpoint(stack.http, job, attempt=1, epoch=1)

    stack.program("worker").terminate()

    handed_back = await_status(stack.http, job, "queued")
    assert handed_back["checkpoint_epoch"] >= 1
    ended = await_end(stack.http, job)
    assert (ended["status"], ended["attempt"]) == ("succeeded", 2)
    assert digest(stack.http, ended) == digest(stack.http, undisturbed)


def digest(http: httpx.Client, job: Json) -> str:
    return str(http.get(f"/api/v1/models/{job['model']}/versions/{job['version']}").json()["weights_digest"])


def await_checkpoint(http: httpx.Client, job: Json, attempt: int, epoch: int) -> int:
    """Answers the epoch that the checkpoint has come to."""

    def is_there() -> bool:
        shown = show(http, job)
        assert shown["status"] in ("queued", "running"), shown["error"]
        return bool(shown["attempt"] == attempt and shown["checkpoint_epoch"] >= epoch)

    wait_for(is_there, 120)
    return int(show(http, job)["checkpoint_epoch"])


def test_a_training_process_that_is_killed_is_replaced_and_the_job_gives_up_in_the_end(stack: Stack) -> None:
    """As the kernel does it when the memory runs out."""
    if not isinstance(stack, LocalStack):
        pytest.skip("the processes in a container cannot be told apart from outside: `make e2e` runs this")
    job = submit(stack.http, MANY_SECONDS)

    for attempt in (1, 2, 3):
        await_attempt(stack.http, job, attempt)
        (training,) = stack.program("worker").children()
        training.kill()

    ended = await_end(stack.http, job)
    assert ended["status"] == "failed"
    assert ended["error"]["type"] == "/problems/attempts-used-up"


def await_attempt(http: httpx.Client, job: Json, attempt: int) -> None:
    wait_for(lambda: (shown := show(http, job))["status"] == "running" and shown["attempt"] == attempt, 60)


def test_the_services_inside_are_not_reachable_from_outside(stack: Stack) -> None:
    if not isinstance(stack, ComposeStack):
        pytest.skip("this is about containers: `make e2e-compose` runs it")

    published = stack.compose("ps", "--format", "{{.Service}} {{.Ports}}")

    addresses = [line for line in published.splitlines() if "->" in line]
    assert [line.split()[0] for line in addresses] == ["api"]
    assert f"127.0.0.1:{stack.port}->8000/tcp" in addresses[0]


def test_the_api_image_has_no_tensorflow_and_nobody_is_root(stack: Stack) -> None:
    if not isinstance(stack, ComposeStack):
        pytest.skip("this is about containers: `make e2e-compose` runs it")
    look = "import importlib.util, os; print(importlib.util.find_spec('tensorflow') is not None, os.getuid() == 0)"

    seen = {service: stack.compose("exec", service, "python", "-c", look).split() for service in ("api", "worker")}

    assert seen == {"api": ["False", "False"], "worker": ["True", "False"]}
