"""Test the pages without a browser: every page on an empty and on a full database, and their files."""

import dataclasses
import html
import json
import re
import shlex
import zipfile
from collections.abc import Callable
from html.parser import HTMLParser
from uuid import UUID, uuid4

import numpy as np
import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text
from sqlalchemy.orm import Session

from api.access.owners import Owners
from api.documents.recipes import load_recipes
from api.services import EXTENSION
from api.web.words import LANGUAGES, load_translations
from shared.database.engine import Sessions
from shared.devices import Device
from shared.errors import OutOfMemory
from shared.jobs import events, lifecycle, workers
from tests.support.examples import DIGITS, IRIS, XOR, changed
from tests.support.images import encoded
from tests.support.jobs import train
from tests.support.uploads import upload_dataset, zipped
from tests.support.worker import InProcessWorker

EVIL = "<img src=x onerror=alert(1)>"
EMPTY = (
    "/",
    "/jobs",
    "/jobs/new",
    "/queue",
    "/models",
    "/datasets",
    "/datasets/new",
    "/compare",
    "/problems",
    "/functions",
)
VOID = frozenset({"meta", "link", "input", "img", "br"})
ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


class StrictPage(HTMLParser):
    """Parses a page. Raises AssertionError for an element that is not closed in its place.

    Attributes:
        links: the addresses of all links within the pages.
        ids: the ids of all elements.
        images: the addresses of all images.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: list[str] = []
        self.images: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Check the attributes, and remember the element."""
        for name, value in attrs:
            assert name != "style", f"<{tag}> has a style"
            assert not name.startswith("on"), f"<{tag}> has {name}"
            if name == "href" and tag == "a":
                self.links.append(value or "")
            if name == "id":
                self.ids.append(value or "")
            if name == "src" and tag == "img":
                self.images.append(value or "")
        if tag == "script":
            assert dict(attrs).get("src") or dict(attrs).get("type") == "application/json"
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Check the attributes of an element that closes itself."""
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        """Check that the element is the last one that was opened."""
        assert tag == self._open.pop()


def read_page(http: FlaskClient, path: str, language: str = "en", status: int = 200) -> tuple[str, StrictPage]:
    """Read a page and parse it. Keys of words that are missing raise an error in the page."""
    answer = http.get(f"/ui{path}", headers={"Accept-Language": language})
    assert (answer.status_code, answer.mimetype) == (status, "text/html"), (path, answer.text[:500])
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    page = StrictPage(answer.text)
    assert len(page.ids) == len(set(page.ids)), path
    return answer.text, page


@pytest.fixture
def full(http: FlaskClient, worker: InProcessWorker, sessions: Sessions) -> tuple[FlaskClient, list[str]]:
    """Provide the client with jobs, models, data sets and workers, and the paths of their pages.

    Every name that a user can choose is an attack where it may be one.
    """
    random = np.random.default_rng(0)
    pictures: dict[str | zipfile.ZipInfo, bytes] = {
        f"{name}/{row}.png": encoded(random.integers(0, 256, (8, 8, 3), np.uint8))
        for name in ("cat", "<img src=x>")
        for row in range(20)
    }
    upload_dataset(http, zipped(pictures), "pictures")
    table = f"a,{EVIL.replace(',', '')},kind\n" + f"1,2,{EVIL}\n3,4,dog\n" * 15
    upload_dataset(http, table.encode(), "table")
    notes = {"notes": EVIL, "tags": {"course": EVIL}}
    small = changed(changed(DIGITS, "training.epochs", 2), "dataset.limit", 300)
    digits = train(http, worker, {**small, **notes})
    spec = changed(changed(IRIS, "dataset", {"name": "table", "test": {"split": 0.3}}), "network.layers.1.units", 2)
    rows = train(http, worker, {**changed(spec, "training.epochs", 2), "model": "rows"})
    line = train(http, worker, changed(XOR, "training.epochs", 2))
    assert {job["status"] for job in (digits, rows, line)} == {"succeeded"}
    http.patch("/api/v1/models/digits", json={"description": EVIL})
    http.put("/api/v1/models/digits/aliases/production", json={"version": 1})
    waiting, failed = (http.post("/api/v1/jobs", json={**small, **notes}).json["id"] for _ in range(2))
    with sessions.begin() as session:
        workers.record_heartbeat(session, EVIL, "host", ("cpu",))
        job = lifecycle.claim(session, "worker-1", [Device.AUTO], 60)
        assert job is not None
        lifecycle.fail(session, job.id, 1, OutOfMemory(EVIL))
    http.post("/api/v1/models/rows/batch-predictions", json={"dataset": "table"})
    evaluation = "/models/digits/versions/1/evaluation"
    paths = [
        *EMPTY,
        *(f"/jobs/{job['id']}" for job in (digits, rows, line)),
        f"/jobs/{waiting}",
        f"/jobs/{failed}",
        f"/jobs/new?job={digits['id']}",
        "/jobs/new?version=digits@1",
        "/jobs/new?dataset=table",
        "/jobs/new?recipe=and",
        f"/compare?jobs={digits['id']}&jobs={rows['id']},{line['id']}",
        "/models/digits",
        "/models/digits/versions/1",
        "/models/rows/versions/1",
        "/models/xor/versions/1",
        "/models/digits/versions/1/inside",
        "/models/digits/versions/1/inside?layer=flatten",
        "/models/rows/versions/1/inside",
        evaluation,
        f"{evaluation}?true=3&predicted=3",
        "/models/rows/versions/1/evaluation",
        "/models/xor/versions/1/evaluation",
        "/models/digits/try",
        "/models/rows/try?version=1",
        "/datasets/iris",
        "/datasets/table",
        "/datasets/pictures@1",
        "/problems/disk-full",
        "/jobs?status=failed&q=img&tag=course",
    ]
    return http, paths


@ON_SQLITE
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_page_of_an_empty_service_says_what_to_do(http: FlaskClient, language: str) -> None:
    for path in EMPTY:
        text, page = read_page(http, path, language)
        assert f'<html lang="{language}"' in text
        assert text.count("<h1") == 1
        assert any(link.startswith("/ui/") for link in page.links)


@ON_SQLITE
def test_every_page_shows_names_as_text_and_its_links_lead_somewhere(full: tuple[FlaskClient, list[str]]) -> None:
    http, paths = full
    links: set[str] = set()
    for path in paths:
        for language in LANGUAGES:
            text, page = read_page(http, path, language)
            assert "<img src=x" not in text, path
            links |= {link for link in (*page.links, *page.images) if link.startswith(("/ui", "/api", "/problems"))}

    for link in sorted(links):
        if not re.search(r"/(predictions|metrics)\.|\.svg|/log$|\?side=|lang=|theme=", link):
            with http.get(link) as answer:
                assert answer.status_code in (200, 303), link


@ON_SQLITE
def test_a_page_that_is_missing_names_what_is(http: FlaskClient) -> None:
    for path, words in (("/nothing", "no page"), ("/models/nope", "no model"), ("/datasets/nope", "no data set")):
        text, _ = read_page(http, path, status=404)
        assert words in text
    assert "no job" in read_page(http, "/jobs/new?job=1", status=404)[0]
    assert "no id" in read_page(http, "/compare?jobs=x", status=422)[0].replace("not the id", "no id")
    assert http.post("/ui/").status_code == 405


@ON_SQLITE
def test_a_bad_owner_and_odd_parameters_are_problems_and_no_failures(
    http: FlaskClient, app: Flask, worker: InProcessWorker
) -> None:
    train(http, worker, changed(changed(DIGITS, "training.epochs", 1), "dataset.limit", 300))
    evaluation = "/models/digits/versions/1/evaluation"
    for path in (f"{evaluation}?true={'b' * 201}", "/jobs?status=bogus", "/jobs?kind=x", "/jobs?cursor=x"):
        read_page(http, path, status=422)
    read_page(http, "/jobs?status=queued,running")
    app.extensions[EXTENSION] = dataclasses.replace(app.extensions[EXTENSION], owners=Owners("X-Owner", 10))
    answer = http.get("/ui/jobs?owner=me", headers={"X-Owner": "a" * 256})
    assert (answer.status_code, answer.mimetype) == (422, "text/html")


@ON_SQLITE
def test_a_command_to_copy_quotes_what_users_named(http: FlaskClient, worker: InProcessWorker) -> None:
    evil = "'; touch /tmp/pwned; echo '"
    table = "a,b,kind\n" + f'"{evil}",1,x\n"dog ""Rex""",2,y\n' * 20
    assert upload_dataset(http, table.encode(), "evil", columns='{"a": "one-hot"}').status_code == 201
    spec = changed(changed(IRIS, "dataset.name", "evil"), "network.layers.1.units", 2)
    train(http, worker, {**changed(spec, "training.epochs", 1), "model": "evil"})

    text, _ = read_page(http, "/models/evil/versions/1")

    command = html.unescape(text.split("<pre", 1)[1].split(">", 1)[1].split("</pre>", 1)[0])
    arguments = shlex.split(command)
    assert arguments[0] == "curl"
    assert json.loads(arguments[-1])["instances"][0][0] in (evil, 'dog "Rex"')


@ON_SQLITE
@pytest.mark.parametrize("query", ["dataset=pictures", "dataset=numbers", "dataset=iris", "dataset=digits"])
def test_a_spec_for_a_data_set_can_be_trained_as_it_stands(http: FlaskClient, query: str) -> None:
    blank = encoded(np.zeros((16, 16, 3), np.uint8))
    upload_dataset(http, zipped({f"{name}/{row}.png": blank for name in "ab" for row in range(9)}), "pictures")
    upload_dataset(http, ("a,y\n" + "".join(f"{row},{row / 7:.3f}\n" for row in range(40))).encode(), "numbers")

    text, _ = read_page(http, f"/jobs/new?{query}")

    spec = html.unescape(text.split("<textarea", 1)[1].split(">", 1)[1].split("</textarea>", 1)[0])
    plan = http.post("/api/v1/jobs?dry_run=true", data=spec.encode(), content_type="application/yaml")
    assert plan.status_code == 200, plan.text
    assert plan.json["rows"]["test"] > 0


@ON_SQLITE
def test_an_outage_of_the_database_is_a_page(http: FlaskClient, sessions: Sessions) -> None:
    with sessions.begin() as session:
        session.execute(text("ALTER TABLE jobs RENAME TO gone"))

    shown, _ = read_page(http, "/jobs", status=503)

    assert "The database is unreachable" in shown


@ON_SQLITE
def test_the_language_and_the_theme_are_remembered(http: FlaskClient) -> None:
    chosen = http.get("/ui/jobs?q=a&lang=ko&theme=dark")

    assert (chosen.status_code, chosen.headers["Location"]) == (303, "/ui/jobs?q=a")
    page = http.get("/ui/jobs?q=a", headers={"Accept-Language": "en"})
    assert '<html lang="ko" data-theme="dark"' in page.text
    assert {"Accept-Language", "Cookie"} <= set(page.vary)
    assert all("HttpOnly" in cookie and "SameSite=Lax" in cookie for cookie in chosen.headers.getlist("Set-Cookie"))
    assert http.get("/ui/?lang=xx").status_code == 200


@ON_SQLITE
def test_a_browser_is_sent_from_the_root_to_the_home_page(http: FlaskClient) -> None:
    browser = http.get("/", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})

    assert (browser.status_code, browser.headers["Location"]) == (303, "/ui/")
    assert http.get("/").json == {"status": "alive"}
    assert "Accept" in http.get("/").vary


@ON_SQLITE
def test_the_gallery_shows_every_recipe_in_a_group(http: FlaskClient) -> None:
    text, page = read_page(http, "/jobs/new", "ko")

    assert {path.rpartition("=")[2] for path in page.links if "recipe=" in path} == load_recipes().keys()
    assert "손글씨 숫자" in text
    assert all(
        html.escape(title, quote=False) in html.unescape(text) for title in load_translations("recipes", "ko").values()
    )
    assert all(http.get(html.unescape(address)).status_code == 200 for address in page.images)


@ON_SQLITE
def test_a_problem_of_a_page_says_what_to_do_in_korean(http: FlaskClient) -> None:
    text, _ = read_page(http, "/models/nothing", "ko", 404)
    meaning, _ = read_page(http, "/problems/model-not-found", "ko")

    assert load_translations("problems", "ko")["model-not-found"] in text
    assert load_translations("problems", "ko")["model-not-found"] in meaning


@ON_SQLITE
def test_a_comparison_of_more_than_eight_jobs_says_so(http: FlaskClient) -> None:
    text, _ = read_page(http, f"/compare?jobs={','.join(str(uuid4()) for _ in range(9))}")

    assert "The first 8 of 9 jobs are shown." in text


@ON_SQLITE
def test_an_address_or_a_method_that_no_page_has_is_answered_with_a_page(http: FlaskClient) -> None:
    missing, refused = http.get("/ui/jobs/%0A%0D"), http.post("/ui/jobs/new")

    assert (missing.status_code, missing.mimetype) == (404, "text/html")
    assert (refused.status_code, refused.mimetype) == (405, "text/html")
    assert "default-src 'none'" in refused.headers["Content-Security-Policy"]
    assert http.get("/api/v1/nothing").mimetype == "application/problem+json"
    assert http.post("/api/v1/catalog").headers["Allow"]


@ON_SQLITE
def test_a_model_shows_its_metric_by_version(http: FlaskClient, worker: InProcessWorker) -> None:
    for seed in (1, 2, 3):
        train(http, worker, changed(changed(IRIS, "dataset.test", {"split": 0.3}), "training.seed", seed))
    http.put("/api/v1/models/iris/aliases/production", json={"version": 2})

    text, page = read_page(http, "/models/iris")

    assert text.count("<circle") == 3
    assert "production → 2" in text
    assert [path for path in page.links if path.endswith("/versions/3")]


class InterruptedSessions:
    """Sessions that run an action before one of them is opened."""

    def __init__(self, sessions: Sessions, place: int, action: Callable[[], None]) -> None:
        self._sessions, self._left, self._action = sessions, place, action

    def __call__(self) -> Session:
        """Open a session."""
        self._left -= 1
        if self._left == 0:
            self._action()
        return self._sessions()


@ON_SQLITE
@pytest.mark.parametrize("place", [1, 2, 3])
def test_a_page_that_is_read_while_its_job_begins_misses_no_event(
    app: Flask, http: FlaskClient, sessions: Sessions, place: int
) -> None:
    job_id = http.post("/api/v1/jobs", json=DIGITS).json["id"]

    def begin() -> None:
        with sessions.begin() as session:
            lifecycle.claim(session, "worker-1", [Device.AUTO], 60)

    interrupted = InterruptedSessions(sessions, place, begin)
    app.extensions[EXTENSION] = dataclasses.replace(app.extensions[EXTENSION], sessions=interrupted)
    text, _ = read_page(http, f"/jobs/{job_id}")
    begin()  # unless the page has opened so many sessions

    data = json.loads(html.unescape(re.search(r'id="data">(.*?)</script>', text)[1]))
    with sessions() as session:
        later = [
            event.content.get("status") for event in events.list_events(session, UUID(job_id), data["lastEvent"], 100)
        ]
    assert data["status"] == "running" or "running" in later
