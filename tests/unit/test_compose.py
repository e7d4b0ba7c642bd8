"""Test that `docker compose` reads the expected services from docker-compose.yml."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.examples import Json

PASSWORD = "POSTGRES_PASSWORD"
ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(
    shutil.which("docker") is None, reason="docker is not installed here: install it, and `make test` runs these"
)


def load_services(*arguments: str, settings: str = "/dev/null") -> Json:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TRAINYARD_", "COMPOSE_"))}
    command = ["docker", "compose", "--env-file", settings, *arguments, "config", "--format", "json"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True)
    services: Json = json.loads(done.stdout)["services"]
    return services


def test_only_the_gpu_profile_adds_the_gpu_worker() -> None:
    assert set(load_services()) == {"api", "database", "migrate", "passwords", "redis", "scheduler", "worker"}
    assert set(load_services("--profile", "gpu")) == {*load_services(), "worker-gpu"}


def test_the_gpu_worker_reserves_one_gpu_and_trains_on_it() -> None:
    worker = load_services("--profile", "gpu")["worker-gpu"]

    (device,) = worker["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["count"], device["capabilities"]) == ("nvidia", 1, ["gpu"])
    assert worker["build"]["target"] == "worker-gpu"
    assert worker["environment"]["TRAINYARD_DEVICE"] == "gpu"


def test_only_the_api_publishes_a_port_and_only_on_localhost() -> None:
    published = {name: service["ports"] for name, service in load_services().items() if "ports" in service}

    assert set(published) == {"api"}
    assert [(port["host_ip"], port["published"]) for port in published["api"]] == [("127.0.0.1", "8000")]


def test_the_example_settings_equal_the_defaults() -> None:
    assert load_services(settings=".env.example") == load_services()


def test_passwords_are_handed_only_to_who_needs_them() -> None:
    mounted = {
        name: {volume["source"] for volume in service.get("volumes", []) if volume["source"].endswith("-password")}
        for name, service in load_services("--profile", "gpu").items()
    }

    both = {"database-password", "redis-password"}
    assert mounted == {
        "passwords": both,
        "database": {"database-password"},
        "redis": {"redis-password"},
        "migrate": {"database-password"},
        **dict.fromkeys(("api", "scheduler", "worker", "worker-gpu"), both),
    }


def test_no_password_has_a_default(tmp_path: Path) -> None:
    settings = tmp_path / ".env"
    settings.write_text("POSTGRES_PASSWORD=chosen\n")

    assert {name for name, service in load_services().items() if service.get("environment", {}).get(PASSWORD)} == set()
    shown = {
        name
        for name, service in load_services(settings=str(settings)).items()
        if service.get("environment", {}).get(PASSWORD)
    }
    assert shown == {"passwords"}
