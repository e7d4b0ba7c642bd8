"""What `docker compose` makes of docker-compose.yml."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.examples import Json

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(
    shutil.which("docker") is None, reason="docker is not installed here: install it, and `make test` runs these"
)


def services(*arguments: str, settings: str = "/dev/null") -> Json:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TRAINYARD_", "COMPOSE_"))}
    command = ["docker", "compose", "--env-file", settings, *arguments, "config", "--format", "json"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True)
    services: Json = json.loads(done.stdout)["services"]
    return services


def test_the_gpu_worker_comes_with_its_profile_alone() -> None:
    assert set(services()) == {"api", "database", "migrate", "redis", "scheduler", "worker"}
    assert set(services("--profile", "gpu")) == {*services(), "worker-gpu"}


def test_the_gpu_worker_reserves_a_device_and_trains_on_it() -> None:
    worker = services("--profile", "gpu")["worker-gpu"]

    (device,) = worker["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["count"], device["capabilities"]) == ("nvidia", 1, ["gpu"])
    assert worker["build"]["target"] == "worker-gpu"
    assert worker["environment"]["TRAINYARD_DEVICE"] == "gpu"


def test_only_the_api_is_published_and_only_here() -> None:
    published = {name: service["ports"] for name, service in services().items() if "ports" in service}

    assert set(published) == {"api"}
    assert [(port["host_ip"], port["published"]) for port in published["api"]] == [("127.0.0.1", "8000")]


def test_the_example_of_settings_changes_nothing() -> None:
    assert services(settings=".env.example") == services()
