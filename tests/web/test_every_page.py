"""Test what holds for every page, in two views: messages, hosts, accessibility, width and weight."""

import pytest

from tests.support.stacks import LocalStack
from tests.web.conftest import FullStack, Opener, Watched, check_accessibility

PAGES = (
    "home",
    "jobs",
    "editor",
    "job",
    "failed job",
    "compare",
    "queue",
    "models",
    "model",
    "version",
    "version of a table",
    "evaluation",
    "cell",
    "Korean evaluation",
    "evaluation of a table",
    "inside",
    "inside of two inputs",
    "pad",
    "form of a row",
    "row of the test part",
    "image of the test part",
    "data",
    "data set of images",
    "data set of a table",
    "built-in data",
    "upload",
    "problems",
    "problem",
    "functions",
)
EMPTY = (
    "/ui/",
    "/ui/jobs",
    "/ui/jobs/new",
    "/ui/compare",
    "/ui/queue",
    "/ui/models",
    "/ui/datasets",
    "/ui/datasets/new",
)
MAX_BYTES, MAX_REQUESTS, MAX_NODES = 60_000, 12, 1_500
PICTURES = (".png", ".svg", "preview", "/ui/static/")
SETTLE_MILLISECONDS = 700


def look(watched: Watched, address: str) -> None:
    """Open an address, and check the page."""
    page = watched.page
    answer = page.goto(address, wait_until="load")
    page.wait_for_timeout(SETTLE_MILLISECONDS)
    assert answer.status == 200
    assert watched.messages == []
    assert watched.hosts == {"127.0.0.1"}
    assert page.evaluate("document.documentElement.scrollWidth") == page.viewport_size["width"]
    assert page.evaluate("document.querySelectorAll('*').length") <= MAX_NODES
    check_accessibility(page)
    check_weight(watched)


def check_weight(watched: Watched) -> None:
    """Check the bytes and the number of requests of a first visit, without thumbnails and what the page asks later."""
    own = [url for url in watched.requests if "/api/" not in url]
    assert len(own) <= MAX_REQUESTS, own
    received = watched.measure_bodies()
    assert sum(received.get(url, 0) for url in own) <= MAX_BYTES


@pytest.mark.parametrize("view", ["wide", "phone"])
@pytest.mark.parametrize("path", EMPTY)
def test_a_page_of_an_empty_service(empty: LocalStack, open_page: Opener, view: str, path: str) -> None:
    with open_page(view) as watched:
        look(watched, f"http://127.0.0.1:{empty.port}{path}")


@pytest.mark.parametrize("view", ["wide", "phone"])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_of_a_full_service(full: FullStack, open_page: Opener, view: str, name: str) -> None:
    with open_page(view) as watched:
        look(watched, full.root + full.paths[name])


def test_all_pages_are_looked_at(full: FullStack) -> None:
    assert set(PAGES) == full.paths.keys()


@pytest.mark.parametrize("name", ["home", "jobs", "job", "models", "evaluation", "data", "queue"])
def test_a_page_can_be_read_without_javascript(full: FullStack, open_page: Opener, name: str) -> None:
    with open_page(java_script_enabled=False) as watched:
        watched.page.goto(full.root + full.paths[name])
        assert watched.page.locator("h1").count() == 1
        text = watched.page.inner_text("main")
        assert ("digits" in text, "{" in text.replace("{split", "")) == (name != "queue" or "digits" in text, False)
