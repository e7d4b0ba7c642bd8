"""Test what people do in the pages: by mouse, by keyboard and by touch, and while the service fails."""

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.stacks import LocalStack
from tests.support.waiting import wait_for
from tests.web.conftest import FullStack, Opener, Watched, check_accessibility

TRAINING_SECONDS = 90


@pytest.fixture(autouse=True)
def end_jobs(full: FullStack) -> Iterator[None]:
    """Cancel what a test leaves behind: the next one would wait for it."""
    yield
    for job in full.stack.http.get("/api/v1/jobs?status=queued,running,stopping&limit=200").json()["jobs"]:
        full.stack.http.post(f"/api/v1/jobs/{job['id']}/cancellation")


def train_long(stack: LocalStack, epochs: int = 400) -> str:
    """Submit a training that takes some seconds, and return its id."""
    spec = {
        "model": "long",
        "dataset": {"name": "digits"},
        "preprocessing": {"size": "data"},
        "network": {
            "layers": [
                {"layer": "Flatten"},
                {"layer": "Dense", "units": 32, "activation": "relu"},
                {"layer": "Dense", "units": 10, "activation": "softmax"},
            ]
        },
        "training": {"epochs": epochs, "batch_size": 4},
    }
    return str(stack.http.post("/api/v1/jobs", json=spec).json()["id"])


def cancel(stack: LocalStack, job: str) -> None:
    stack.http.post(f"/api/v1/jobs/{job}/cancellation")
    wait_for(lambda: stack.http.get(f"/api/v1/jobs/{job}").json()["ended_at"] is not None, 60)


def press_to(watched: Watched, selector: str, key: str = "Tab", limit: int = 80) -> None:
    """Press a key until an element has the focus."""
    page = watched.page
    for _ in range(limit):
        if page.evaluate("selector => document.activeElement?.matches(selector)", selector):
            return
        page.keyboard.press(key)
    raise AssertionError(f"{selector} cannot be reached by the keyboard")


def test_a_recipe_is_trained_watched_evaluated_and_tried_by_keyboard(full: FullStack, open_page: Opener) -> None:
    with open_page() as watched:
        page = watched.page
        page.goto(f"{full.root}/ui/jobs/new?recipe=iris")
        page.wait_for_selector("[data-plan] .good-ink")
        press_to(watched, "[data-train]")
        page.keyboard.press("Enter")
        page.wait_for_url(re.compile("/ui/jobs/[0-9a-f-]{36}"))
        page.wait_for_selector(".uplot", timeout=30_000)
        page.wait_for_selector("#state .status.succeeded", timeout=TRAINING_SECONDS * 1000)
        page.wait_for_selector('a[href*="/versions/"]')
        press_to(watched, '[role="application"]')
        page.keyboard.press("Home")
        assert page.inner_text("#said").startswith("epoch 1:")
        press_to(watched, 'a[href$="/versions/1"]', "Shift+Tab")
        page.keyboard.press("Enter")
        page.wait_for_url("**/versions/1")
        press_to(watched, 'a[href$="/evaluation"]')
        page.keyboard.press("Enter")
        page.wait_for_url("**/evaluation")
        press_to(watched, ".matrix a")
        first = page.evaluate("document.activeElement.getAttribute('aria-label')")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("End")
        assert page.evaluate("document.activeElement.getAttribute('aria-label')") != first
        page.keyboard.press("Enter")
        page.wait_for_url(re.compile("true=.+predicted="))
        press_to(watched, 'a[href*="/try"]')
        page.keyboard.press("Enter")
        page.wait_for_url(re.compile("/try"))
        page.wait_for_load_state()
        press_to(watched, 'input[name="0"]')
        page.keyboard.press("Control+A")
        page.keyboard.type("5.1")
        page.wait_for_selector(".answers li")
        assert watched.messages == []


def test_a_digit_is_drawn_by_touch(full: FullStack, open_page: Opener) -> None:
    with open_page("phone") as watched:
        page = watched.page
        page.goto(full.root + full.paths["pad"])
        box = page.locator("[data-pad]").bounding_box()
        for part in (0.3, 0.5, 0.7):
            page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + part * box["height"])
        page.wait_for_selector(".answers li")
        page.wait_for_selector("[data-seen] img")
        assert len(page.locator(".answers li").all()) == 5
        page.locator("[data-clear]").tap()
        assert page.locator(".answers li").count() == 0
        assert page.evaluate("scrollY") == 0  # drawing does not scroll
        assert watched.messages == []


def test_a_photo_is_dropped_and_a_file_that_is_none_is_refused(
    full: FullStack, open_page: Opener, tmp_path: Path
) -> None:
    with open_page() as watched:
        page = watched.page
        page.goto(full.root + full.paths["pad"])
        (tmp_path / "note.png").write_bytes(b"no image")
        page.set_input_files("[data-file]", tmp_path / "note.png")
        page.wait_for_selector('[role="alert"]')
        assert "image" in page.inner_text('[role="alert"]')
        page.click('[role="alert"] button')
        assert page.locator('[role="alert"]').count() == 0
        page.click("details summary")
        page.locator("[data-sample]").first.click()
        page.wait_for_selector(".answers li")


def test_a_refused_upload_tells_why_and_a_good_one_is_shown(full: FullStack, open_page: Opener, tmp_path: Path) -> None:
    with open_page() as watched:
        page = watched.page
        page.goto(f"{full.root}/ui/datasets/new")
        table = tmp_path / "Meine Blumen.csv"
        table.write_text("a,b,kind\n1,2\n3,4,dog\n")
        page.set_input_files("[name=file]", table)
        assert page.input_value("[name=name]") == "meine-blumen"
        page.click("[data-upload] button[type=submit]")
        page.wait_for_selector('[role="alert"]')
        assert "cells" in page.inner_text('[role="alert"]')
        table.write_text("a,b,kind\n" + "1,2,cat\n3,4,dog\n" * 10)
        page.set_input_files("[name=file]", table)
        page.click("[data-upload] button[type=submit]")
        page.wait_for_url("**/ui/datasets/meine-blumen@1")
        assert "meine-blumen@1" in page.inner_text("h1")


@pytest.mark.parametrize("view", ["wide", "phone"])
def test_columns_of_a_table_are_chosen_before_it_is_sent(
    full: FullStack, open_page: Opener, tmp_path: Path, view: str
) -> None:
    places, ends = ("서울", "부산", ""), ("합격", "불합격")
    rows = [f"학생{row},{places[row % 3]},{row or ''},{ends[row % 2]}" for row in range(30)]
    table = tmp_path / f"students-{view}.csv"
    table.write_bytes("\n".join(["이름,지역,점수,결과", *rows]).encode("cp949"))
    with open_page(view) as watched:
        page = watched.page
        page.goto(f"{full.root}/ui/datasets/new")
        page.set_input_files("[name=file]", table)
        page.wait_for_selector("[data-columns] [data-name]")
        check_accessibility(page)
        assert page.evaluate("document.documentElement.scrollWidth") == page.viewport_size["width"]
        roles = page.eval_on_selector_all("[data-name] td:nth-of-type(2) select", "all => all.map(one => one.value)")
        fills = page.eval_on_selector_all("[data-name] td:nth-of-type(3) select", "all => all.map(one => one.value)")
        assert roles == ["leave_out", "one-hot", "number", "label"]
        assert fills == ["", "most-frequent", "median", ""]
        page.click("[data-upload] button[type=submit]")
        page.wait_for_url(f"**/ui/datasets/students-{view}@1")
        assert "서울" in page.inner_text("table")
        assert watched.messages == []


@pytest.mark.parametrize(
    ("names", "roles"),
    [("label,text", ["label", "text"]), ("text,label", ["text", "label"])],
    ids=["label first", "label last"],
)
def test_a_column_of_texts_is_recognised(
    full: FullStack, open_page: Opener, tmp_path: Path, names: str, roles: list[str]
) -> None:
    rows = [(f'"film {number}, as usual"', ("good", "bad")[number % 2]) for number in range(20)]
    table = tmp_path / "reviews.csv"
    table.write_text("\n".join([names, *(",".join(row if roles[0] == "text" else row[::-1]) for row in rows)]))
    with open_page() as watched:
        page = watched.page
        page.goto(f"{full.root}/ui/datasets/new")
        page.set_input_files("[name=file]", table)
        page.wait_for_selector("[data-columns] [data-name]")
        selects = "[data-name] td:nth-of-type(2) select"
        assert page.eval_on_selector_all(selects, "all => all.map(one => one.value)") == roles
        assert watched.messages == []


def test_an_epoch_is_in_the_page_soon_and_the_lists_follow(full: FullStack, open_page: Opener) -> None:
    job = train_long(full.stack)
    with open_page() as watched, open_page() as other:
        watched.page.goto(f"{full.root}/ui/jobs/{job}")
        other.page.goto(f"{full.root}/ui/jobs")
        watched.page.wait_for_selector(".uplot", timeout=30_000)
        watched.page.click("summary >> nth=0")
        shown = watched.page.locator("[data-epochs] tbody tr th").first
        first = int(shown.inner_text())
        wait_for(lambda: int(shown.inner_text()) > first, 10)
        other.page.wait_for_selector(f'[data-job="{job}"] progress', timeout=10_000)
        assert watched.page.inner_text("[data-live]").startswith("● live")
        watched.page.click("[data-live] button")
        assert "as of" in watched.page.inner_text("[data-live]")
        watched.page.click("[data-live] button")
        cancel(full.stack, job)
        watched.page.wait_for_selector("#state .status.cancelled", timeout=10_000)
        other.page.wait_for_selector(f'[data-job="{job}"] .status.cancelled', timeout=10_000)
        assert watched.messages == other.messages == []


def test_a_job_is_cancelled_after_a_question(full: FullStack, open_page: Opener) -> None:
    job = train_long(full.stack)
    with open_page() as watched:
        page = watched.page
        page.goto(f"{full.root}/ui/jobs/{job}")
        page.click('[data-act="cancellation"]')
        page.click('[data-ask] button[value="no"]')
        assert page.evaluate("document.activeElement.dataset.act") == "cancellation"
        page.click('[data-act="cancellation"]')
        page.click('[data-ask] button[value="yes"]')
        page.wait_for_selector("#state .status.cancelled", timeout=20_000)
        page.wait_for_selector('[data-act="retry"]:not([hidden])')


def test_a_page_goes_on_after_the_api_was_killed(full: FullStack, open_page: Opener) -> None:
    job = train_long(full.stack, 2000)
    with open_page() as watched:
        page = watched.page
        page.goto(f"{full.root}/ui/jobs/{job}")
        page.wait_for_selector(".uplot", timeout=30_000)
        full.stack.kill("api")
        page.wait_for_selector("[data-live]:has-text('reconnecting')", timeout=20_000)
        wait_for(full.stack.is_ready, 60)
        shown = page.locator("[data-line]")
        last = shown.inner_text()
        wait_for(lambda: shown.inner_text() != last, 60)
    cancel(full.stack, job)


@pytest.mark.parametrize("method", ["form", "fetch"])
def test_a_page_of_another_origin_changes_nothing(full: FullStack, open_page: Opener, method: str) -> None:
    target = f"{full.root}/api/v1/jobs"
    before = full.stack.http.get("/api/v1/jobs?limit=1").json()["jobs"]
    scripts = {
        "form": """target => {
            const form = document.createElement("form");
            Object.assign(form, { method: "post", action: target, enctype: "text/plain" });
            document.body.append(form);
            form.submit();
        }""",
        "fetch": """target => fetch(target, { method: "POST", mode: "no-cors", body: "model: evil" })""",
    }
    with open_page() as watched:
        page = watched.page
        page.goto(f"http://localhost:{full.stack.port}/health/live")  # another origin than 127.0.0.1
        answers: list[int] = []
        page.on("response", lambda answer: answers.append(answer.status))
        with suppress(Exception):  # the answer cannot be read
            page.evaluate(scripts[method], target)
        wait_for(lambda: 403 in answers or page.wait_for_timeout(50), 10)
    assert full.stack.http.get("/api/v1/jobs?limit=1").json()["jobs"] == before


def test_names_are_text_everywhere(full: FullStack, open_page: Opener) -> None:
    with open_page() as watched:
        for name in ("job", "jobs", "model", "cell", "form of a row", "Korean evaluation", "data set of a table"):
            watched.page.goto(full.root + full.paths[name])
            watched.page.wait_for_timeout(300)
        assert watched.messages == []
        assert watched.page.locator("img[src='x']").count() == 0


def test_the_seventh_tab_loads(full: FullStack, open_page: Opener) -> None:
    """A browser has six connections to a host, so that a tab must close its stream when it is hidden."""
    hide = """() => {
        Object.defineProperty(document, "hidden", { value: true });
        document.dispatchEvent(new Event("visibilitychange"));
    }"""
    with open_page() as watched:
        pages = [watched.page.context.new_page() for _ in range(8)]
        for page in pages:
            page.goto(f"{full.root}/ui/queue", timeout=15_000)
            page.wait_for_selector("[data-live]:has-text('live')")
            page.evaluate(hide)  # a browser without a window shows all tabs
            assert "as of" in page.inner_text("[data-live]")


def test_an_alias_is_set_and_removed(full: FullStack, open_page: Opener) -> None:
    with open_page() as watched:
        page = watched.page
        page.goto(full.root + full.paths["model"])
        page.fill("[name=alias]", "staging")
        page.click("[data-alias] button")
        page.wait_for_selector("[data-unset=staging]")
        assert full.stack.http.get("/api/v1/models/digits").json()["aliases"] == {"staging": 1}
        page.click("[data-unset=staging]")
        page.click('dialog button[value="yes"]')
        page.wait_for_selector("[data-unset=staging]", state="detached")
        assert full.stack.http.get("/api/v1/models/digits").json()["aliases"] == {}
        assert watched.messages == []


@pytest.mark.parametrize("name", ["evaluation", "evaluation of a table"])
def test_a_test_row_is_tried(full: FullStack, open_page: Opener, name: str) -> None:
    with open_page() as watched:
        page = watched.page
        page.goto(full.root + full.paths[name])
        if name == "evaluation of a table":  # which has no mistakes
            page.locator(".matrix a").first.click()
        page.locator("section[aria-labelledby=rows] a[href*='row=']").first.click()
        page.wait_for_selector(".answers li")
        told = page.inner_text("[data-of-row]")
        assert "true class" in told
        assert watched.messages == []


def test_a_problem_says_what_to_do_in_the_language_of_the_page(full: FullStack, open_page: Opener) -> None:
    with open_page("phone") as watched:
        page = watched.page
        page.goto(full.root + full.paths["model"])
        page.fill("[name=alias]", "latest")
        page.click("[data-alias] button")
        page.wait_for_selector('[role="alert"] p:has-text("고치십시오")')
        page.wait_for_selector('[role="alert"] li:has-text("latest는 항상")')
        check_accessibility(page)


def test_curves_are_smoothed_when_asked(full: FullStack, open_page: Opener) -> None:
    with open_page() as watched:
        page = watched.page
        page.goto(full.root + full.paths["job"])
        page.wait_for_selector(".uplot")
        names = page.locator(".chart >> nth=0 >> .keys li")
        before = names.count()
        page.locator("[data-smoothing] input").fill("0.8")
        wait_for(lambda: names.count() == 2 * before, 5)
        page.locator("[data-smoothing] input").fill("0")
        wait_for(lambda: names.count() == before, 5)
        assert watched.messages == []


def test_a_cancelled_job_goes_on_or_begins_anew(full: FullStack, open_page: Opener) -> None:
    job = train_long(full.stack, 5000)
    wait_for(lambda: full.stack.http.get(f"/api/v1/jobs/{job}").json()["checkpoint_epoch"], 60)
    cancel(full.stack, job)
    with open_page() as watched:
        page = watched.page
        page.goto(f"{full.root}/ui/jobs/{job}")
        epoch = full.stack.http.get(f"/api/v1/jobs/{job}").json()["checkpoint_epoch"]
        assert str(epoch) in page.inner_text('[data-act="retry"]')
        page.click('[data-act="retry?from=start"]')
        page.wait_for_url(lambda url: job not in url)
        again = page.url.rpartition("/")[2]
        found = full.stack.http.get(f"/api/v1/jobs/{again}").json()
        assert (found["retry_of"], found["checkpoint_epoch"]) == (job, 0)
        cancel(full.stack, again)
        assert watched.messages == []


STREAM = """() => {
    window.EventSource = class extends EventTarget {
        static CLOSED = 2;
        constructor() { super(); window.stream = this; }
        close() {}
    };
}"""
EPOCHS = """async count => {
    const changes = [];
    const observer = new MutationObserver(found => changes.push(...found));
    observer.observe(document.querySelector("[data-log]"), { childList: true, characterData: true, subtree: true });
    for (let epoch = 1; epoch <= count; epoch += 1) {
        const data = JSON.stringify({ epoch, seconds: 0.01, metrics: { loss: 1 / epoch } });
        window.stream.dispatchEvent(new MessageEvent("epoch", { data, lastEventId: String(epoch) }));
    }
    for (const _ of [1, 2, 3]) await new Promise(requestAnimationFrame);
    observer.disconnect();
    const rows = [...document.querySelectorAll("[data-epochs] tbody tr th")].map(row => Number(row.textContent));
    return { changes: changes.length, rows, log: document.querySelector("[data-log]").textContent };
}"""


def test_a_thousand_epochs_at_once_are_shown_in_one_frame(full: FullStack, open_page: Opener) -> None:
    """Each change of the log costs a layout: one for each epoch stops the page of a fast training."""
    job = train_long(full.stack, 5000)
    with open_page() as watched:
        page = watched.page
        page.add_init_script(f"({STREAM})()")
        page.goto(f"{full.root}/ui/jobs/{job}")
        found = page.evaluate(EPOCHS, 1000)
        again = page.evaluate(EPOCHS, 1000)  # a stream that begins anew repeats what the page has
    assert found["changes"] < 20
    assert found["rows"] == again["rows"] == list(range(1000, 940, -1))
    assert "epoch 1000:" in found["log"]


def test_a_job_is_deleted_after_a_question(full: FullStack, open_page: Opener) -> None:
    job = train_long(full.stack)
    cancel(full.stack, job)
    with open_page() as watched:
        page = watched.page
        page.goto(f"{full.root}/ui/jobs/{job}")
        page.click("[data-delete]")
        page.click('[data-ask-delete] button[value="no"]')
        assert full.stack.http.get(f"/api/v1/jobs/{job}").status_code == 200
        page.click("[data-delete]")
        page.click('[data-ask-delete] button[value="yes"]')
        page.wait_for_url("**/ui/jobs")
        assert full.stack.http.get(f"/api/v1/jobs/{job}").status_code == 404


def test_a_version_that_fails_beside_leaves_the_other_answer(full: FullStack, open_page: Opener) -> None:
    for name, layers in (("digits", [{"layer": "Flatten"}]), ("iris", [])):
        spec = {
            "model": "mixed",
            "dataset": {"name": name},
            "network": {"layers": [*layers, {"layer": "Dense", "units": 10 if layers else 3, "activation": "softmax"}]},
            "training": {"epochs": 1},
        }
        job = full.stack.http.post("/api/v1/jobs", json=spec).json()["id"]
        wait_for(lambda job=job: full.stack.http.get(f"/api/v1/jobs/{job}").json()["status"] == "succeeded", 60)  # type: ignore[misc]
    with open_page() as watched:
        page = watched.page
        page.goto(f"{full.root}/ui/models/mixed/try?version=1")
        page.select_option("[data-beside]", "2")
        box = page.locator("[data-pad]").bounding_box()
        page.mouse.click(box["x"] + 100, box["y"] + 100)
        page.wait_for_selector("[data-answer-beside] .notice.bad")
        assert page.locator("[data-answer] .answers li").count() == 5


def test_what_comes_after_clear_is_not_shown(full: FullStack, open_page: Opener) -> None:
    held: list[Any] = []
    with open_page() as watched:
        page = watched.page
        page.goto(full.root + full.paths["pad"])
        page.click("details summary")
        page.route(re.compile(r"/rows/\d+\.png$"), lambda route: held.append(route))  # noqa: PLW0108 - Playwright takes no built-in method
        with page.expect_request(re.compile(r"/rows/\d+\.png$")):
            page.locator("[data-sample]").first.click()
        page.click("[data-clear]")
        with page.expect_response(re.compile(r"/rows/\d+\.png$")):
            held[0].continue_()
        page.wait_for_timeout(300)  # the time in which it would be shown
        assert not page.is_visible("[data-photo]")
        assert page.locator(".answers li").count() == 0
