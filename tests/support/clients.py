"""Submit and observe jobs over HTTP."""

from typing import Any

import httpx

from tests.support.stacks import ROOT
from tests.support.waiting import wait_for

Json = dict[str, Any]
ENDED = ("succeeded", "failed", "cancelled")
SECONDS_TO_TRAIN = 240


def submit_recipe(http: httpx.Client, name: str) -> Json:
    content = (ROOT / "recipes" / f"{name}.yaml").read_bytes()
    answer = http.post("/api/v1/jobs", content=content, headers={"Content-Type": "application/yaml"})
    assert answer.status_code == 202, answer.text
    job: Json = answer.json()
    return job


def submit(http: httpx.Client, spec: Json) -> Json:
    answer = http.post("/api/v1/jobs", json=spec)
    assert answer.status_code == 202, answer.text
    job: Json = answer.json()
    return job


def show(http: httpx.Client, job: Json) -> Json:
    shown: Json = http.get(f"/api/v1/jobs/{job['id']}").raise_for_status().json()
    return shown


def await_status(http: httpx.Client, job: Json, *statuses: str) -> Json:
    """Wait until the job has one of the statuses and return the job. Tolerates an API that is down for a while."""

    def has_status() -> bool:
        try:
            return show(http, job)["status"] in statuses
        except httpx.HTTPError:
            return False

    wait_for(has_status, SECONDS_TO_TRAIN)
    return show(http, job)


def await_end(http: httpx.Client, job: Json) -> Json:
    return await_status(http, job, *ENDED)
