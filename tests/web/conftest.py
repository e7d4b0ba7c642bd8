"""Start the service and a browser, in which the pages are looked at."""

import io
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import cv2
import httpx
import numpy as np
import pytest

from tests.support.stacks import ROOT, LocalStack, local_stack
from tests.support.uploads import zipped
from tests.support.waiting import wait_for

KOREAN = ("고양이", "아주 긴 이름을 가진 강아지 <img src=x onerror=alert(1)>")
EVIL = "<img src=x onerror=alert(1)>"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
VIEWS: dict[str, dict[str, Any]] = {
    "wide": {"viewport": {"width": 1280, "height": 800}, "color_scheme": "light", "locale": "en-US"},
    "phone": {
        "viewport": {"width": 360, "height": 740},
        "color_scheme": "dark",
        "locale": "ko-KR",
        "has_touch": True,
        "is_mobile": True,
    },
}


@dataclass
class Watched:
    """A page of the browser, and what it did.

    Attributes:
        messages: those on the console, with violations of the policy, and errors of scripts.
        hosts: all hosts that were asked.
        requests: the addresses that were asked.
        finished: the requests whose answers have come.
    """

    page: Any
    messages: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)
    requests: list[str] = field(default_factory=list)
    finished: list[Any] = field(default_factory=list)

    def measure_bodies(self) -> dict[str, int]:
        """Return the bytes of the bodies of the answers, as they were sent, by their addresses."""
        return {request.url: request.sizes()["responseBodySize"] for request in self.finished}


Opener = Callable[..., AbstractContextManager[Watched]]


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Provide Chromium. Without it, the tests are skipped, or fail if CI is set."""
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if executable is None:
        reason = "needs Chromium: apt-get install chromium fonts-nanum"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Any) -> Opener:
    """Return a function that opens an empty page in a view, in a browser without cookies."""

    @contextmanager
    def open_page(view: str = "wide", **options: Any) -> Iterator[Watched]:
        context = browser.new_context(**{**VIEWS[view], **options})
        watched = Watched(context.new_page())
        page = watched.page
        page.on("console", lambda message: watched.messages.append(message.text))
        page.on("pageerror", lambda error: watched.messages.append(f"error: {error}"))
        page.on("dialog", lambda dialog: watched.messages.append(f"dialog: {dialog.message}"))

        def note(request: Any) -> None:
            if not request.url.startswith(("data:", "blob:")):
                watched.hosts.add(httpx.URL(request.url).host)
                watched.requests.append(request.url)

        def keep(request: Any) -> None:
            watched.finished.append(request)  # asking for its sizes here can wait for ever

        page.on("request", note)
        page.on("requestfinished", keep)
        yield watched
        context.close()

    return open_page


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """Start a service without jobs, models and data."""
    with local_stack(tmp_path_factory.mktemp("empty")) as stack:
        yield stack


@dataclass(frozen=True)
class FullStack:
    """A service with jobs, models and data. `paths` are those of its pages, by name."""

    stack: LocalStack
    paths: dict[str, str]

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.stack.port}"


@pytest.fixture(scope="session")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FullStack]:
    """Start a service with a model of digits, one of images with Korean names, one of a table, and many jobs."""
    with local_stack(tmp_path_factory.mktemp("full")) as stack:
        yield FullStack(stack, fill(stack.http))


def fill(http: httpx.Client) -> dict[str, str]:
    """Train models and queue jobs, and return the paths of their pages."""
    random = np.random.default_rng(0)
    pictures = {
        f"{name.replace('/', '')[:40]}/{row}.png": encode(random.integers(0, 99 + 150 * kind, (16, 16, 3), np.uint8))
        for kind, name in enumerate(KOREAN)
        for row in range(30)
    }
    upload(http, "pictures", zipped(dict(pictures.items())))
    upload(http, "table", ("a,b,kind\n" + f"1,2,{EVIL}\n3,4,dog\n" * 30).encode())
    dense = [{"layer": "Flatten"}, {"layer": "Dense", "units": 2, "activation": "softmax"}]
    test = {"split": 0.3}
    specs = {
        "digits": {
            "model": "digits",
            "dataset": {"name": "digits"},
            "preprocessing": {"size": "data"},
            "network": {"layers": [{"layer": "Flatten"}, {"layer": "Dense", "units": 10, "activation": "softmax"}]},
            "training": {"epochs": 15},
            "notes": EVIL,
            "tags": {"course": EVIL},
        },
        "pictures": {"model": "pictures", "dataset": {"name": "pictures", "test": test}, "network": {"layers": dense}},
        "rows": {"model": "rows", "dataset": {"name": "table", "test": test}, "network": {"layers": dense[1:]}},
    }
    jobs = {name: submit(http, spec) for name, spec in specs.items()}
    for job in jobs.values():
        wait_for(lambda job=job: http.get(f"/api/v1/jobs/{job}").json()["status"] == "succeeded", 120)  # type: ignore[misc]
    http.patch("/api/v1/models/digits", json={"description": EVIL})
    failing = {
        "model": "diverging",
        "dataset": {"inline": {"x": [[1], [2], [3]], "y": [1.5, 2.5, 4.5]}},
        "network": {"layers": [{"layer": "Dense", "units": 1}]},
        "training": {"epochs": 50, "loss": "mse", "optimizer": {"name": "SGD", "learning_rate": 1e9}},
        "notes": EVIL,
    }
    failed = submit(http, failing)
    wait_for(lambda: http.get(f"/api/v1/jobs/{failed}").json()["status"] == "failed", 60)
    evaluation = "/ui/models/digits/versions/1/evaluation"
    return {
        "home": "/ui/",
        "jobs": "/ui/jobs",
        "editor": "/ui/jobs/new",
        "job": f"/ui/jobs/{jobs['digits']}",
        "failed job": f"/ui/jobs/{failed}",
        "compare": f"/ui/compare?jobs={jobs['digits']},{jobs['pictures']},{failed}",
        "queue": "/ui/queue",
        "models": "/ui/models",
        "model": "/ui/models/digits",
        "version": "/ui/models/digits/versions/1",
        "version of a table": "/ui/models/rows/versions/1",
        "evaluation": evaluation,
        "cell": f"{evaluation}?true=8&predicted=8",
        "Korean evaluation": "/ui/models/pictures/versions/1/evaluation",
        "evaluation of a table": "/ui/models/rows/versions/1/evaluation",
        "inside": "/ui/models/digits/versions/1/inside",
        "inside of two inputs": "/ui/models/rows/versions/1/inside",
        "pad": "/ui/models/digits/try",
        "form of a row": "/ui/models/rows/try",
        "row of the test part": "/ui/models/rows/try?row=0",
        "image of the test part": "/ui/models/digits/try?row=0",
        "data": "/ui/datasets",
        "data set of images": "/ui/datasets/pictures",
        "data set of a table": "/ui/datasets/table",
        "built-in data": "/ui/datasets/digits",
        "upload": "/ui/datasets/new",
        "problems": "/ui/problems",
        "problem": "/ui/problems/disk-full",
        "functions": "/ui/functions",
    }


def encode(image: np.ndarray) -> bytes:
    """Encode an image as PNG."""
    return cv2.imencode(".png", image)[1].tobytes()


def upload(http: httpx.Client, name: str, content: bytes) -> None:
    answer = http.post("/api/v1/datasets", data={"name": name}, files={"file": io.BytesIO(content)})
    assert answer.is_success, answer.text


def submit(http: httpx.Client, spec: dict[str, Any]) -> str:
    """Submit a job, and return its id."""
    answer = http.post("/api/v1/jobs", json=spec)
    assert answer.is_success, answer.text
    return str(answer.json()["id"])


def read_recipe(name: str) -> str:
    return (ROOT / "recipes" / f"{name}.yaml").read_text()


def check_accessibility(page: Any) -> None:
    """Check that axe finds nothing against RULES."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, options={"runOnly": RULES}).response["violations"]
    assert [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in found] == []
