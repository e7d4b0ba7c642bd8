"""Test the editor of a spec: its faults, its completion and its drafts."""

import re
from contextlib import suppress
from typing import Any

from tests.web.conftest import FullStack, Opener, check_accessibility


def test_faults_of_a_spec_are_told_while_it_is_written(full: FullStack, open_page: Opener) -> None:
    with open_page() as watched:
        page = watched.page
        page.goto(f"{full.root}/ui/jobs/new?recipe=iris")
        page.wait_for_selector("[data-plan] .good-ink")
        text = page.input_value("[data-spec]")
        page.fill("[data-spec]", text.replace("layer: Dense", "layer: Dens", 1))
        page.wait_for_selector("[data-plan] .notice.bad")
        assert "Dense" in page.inner_text("[data-plan]")
        page.fill("[data-spec]", text)
        page.wait_for_selector("[data-plan] .good-ink")
        page.fill("[data-spec]", "model: [")
        page.wait_for_selector("[data-plan] .notice.bad")


def test_two_presses_make_one_job(full: FullStack, open_page: Opener) -> None:
    before = len(full.stack.http.get("/api/v1/jobs?model=and&limit=200").json()["jobs"])
    with open_page() as watched:
        page = watched.page
        page.goto(f"{full.root}/ui/jobs/new?recipe=and")
        page.wait_for_selector("[data-plan] .good-ink")
        page.evaluate("for (const _ of [1, 2]) document.querySelector('[data-train]').click()")
        page.wait_for_url(re.compile("/ui/jobs/[0-9a-f-]{36}"))
    assert len(full.stack.http.get("/api/v1/jobs?model=and&limit=200").json()["jobs"]) == before + 1


def test_what_may_stand_at_the_caret_is_offered(full: FullStack, open_page: Opener) -> None:
    with open_page() as watched:
        page = watched.page
        page.goto(f"{full.root}/ui/jobs/new?recipe=iris")
        page.wait_for_selector("[data-plan] .good-ink")
        page.fill("[data-spec]", "model: x\nnetwork:\n  layers:\n    - {layer: Den")
        page.keyboard.press("Control+Space")
        page.wait_for_selector("[data-choices] button:focus")
        assert page.inner_text("[data-choices] button:focus") == "Dense"
        check_accessibility(page)
        page.keyboard.press("Enter")
        assert page.input_value("[data-spec]").endswith("{layer: Dense")
        page.keyboard.type(", uni")
        page.wait_for_selector("[data-choices] button:has-text('units')")
        assert page.inner_text("[data-signature]").startswith("Dense(units")
        page.keyboard.press("Control+Space")
        page.keyboard.press("Enter")
        page.keyboard.type("3}\ntraining:\n  opt")
        page.wait_for_selector("[data-choices] button:has-text('optimizer')")
        page.keyboard.press("Control+Space")
        page.keyboard.press("Enter")
        page.keyboard.type("ada")
        page.wait_for_selector("[data-choices] button:has-text('Adam')")
        assert page.input_value("[data-spec]").endswith("units: 3}\ntraining:\n  optimizer: ada")


def test_a_spec_that_was_not_sent_is_offered_again(full: FullStack, open_page: Opener) -> None:
    with open_page() as watched:
        page = watched.page
        page.goto(f"{full.root}/ui/jobs/new?recipe=iris")
        assert not page.is_visible("[data-draft]")
        page.fill("[data-spec]", "model: mine\n")
        page.select_option("[name=recipe]", "and")
        page.wait_for_url("**recipe=and")
        page.click("[data-restore]")
        assert page.input_value("[data-spec]") == "model: mine\n"
        page.reload()
        page.click("[data-forget]")
        page.reload()
        assert not page.is_visible("[data-draft]")


COMPLETIONS = {
    "layers: [{layer: Conv2D, filters: 3}, {layer: Dense, ac|": ["activation", "activity_regularizer"],
    "network:\n  layers:\n    - {layer: Dens|": ["Dense"],
    "network:\n  layers:\n    - layer: Dense\n      uni|": ["units"],
    "network:\n  layers:\n    - {layer: Dense, units: 3, activation: softm|": ["softmax"],
    "network:\n  layers:\n    - {layer: Dense, kernel_regularizer: {name: L|": ["L1", "L1L2", "L2"],
    "augmentation:\n  - {layer: RandomFl|": ["RandomFlip"],
    "training:\n  loss: {name: categorical_c|": ["categorical_crossentropy"],
    "training:\n  metrics: [accuracy, Prec|": ["Precision", "PrecisionAtRecall"],
    "training:\n  learning_rate_schedule: {name: Cos|": ["CosineDecay", "CosineDecayRestarts"],
    "training: {ep|": ["epochs"],
    "training:\n  epochs: 3\n  ep|": [],
    "training:\n  early_stopping:\n    monitor: loss\n    patience: 3\n  reduce_lr_on_plateau:\n    mon|": ["monitor"],
    "data|": ["dataset"],
    "# layer: De|": [],
    'notes: "layer: De|': [],
}


def test_completion_knows_where_the_caret_is(full: FullStack, open_page: Opener) -> None:
    script = """async text => {
        const area = document.querySelector("[data-spec]");
        const caret = text.indexOf("|");
        area.value = text.replace("|", "");
        area.focus();
        area.setSelectionRange(caret, caret);
        area.dispatchEvent(new KeyboardEvent("keyup"));
        await new Promise(done => setTimeout(done, 50));
        const choices = document.querySelector("[data-choices]");
        return choices.hidden ? [] : [...choices.children].map(one => one.textContent);
    }"""
    with open_page() as watched:
        watched.page.goto(f"{full.root}/ui/jobs/new?recipe=iris")
        watched.page.wait_for_selector("[data-plan] .good-ink")
        watched.page.evaluate(script, "data|")
        watched.page.wait_for_selector("[data-choices] button")  # the catalog has come
        found = {text: watched.page.evaluate(script, text) for text in COMPLETIONS}
    assert {text: one[:3] for text, one in found.items()} == COMPLETIONS


def test_a_spec_of_many_lines_is_judged_and_kept(full: FullStack, open_page: Opener) -> None:
    with open_page() as watched:
        page = watched.page
        page.goto(f"{full.root}/ui/jobs/new?recipe=iris")
        page.wait_for_selector("[data-plan] .good-ink")
        page.evaluate(
            """() => {
                const area = document.querySelector("[data-spec]");
                area.value = "model: a\\n" + "\\n".repeat(150000);
                area.dispatchEvent(new Event("input"));
            }"""
        )
        page.wait_for_selector("[data-plan] .notice.bad", timeout=60_000)
        assert page.evaluate("sessionStorage.getItem('trainyard-draft').length") > 150_000
        assert [text for text in watched.messages if "error:" in text] == []


def test_faults_of_a_spec_are_told_in_korean(full: FullStack, open_page: Opener) -> None:
    with open_page("phone") as watched:
        page = watched.page
        page.goto(f"{full.root}/ui/jobs/new?recipe=iris")
        page.wait_for_selector("[data-plan] .good-ink")
        text = (
            page.input_value("[data-spec]")
            .replace("layer: Dense", "layer: Dens", 1)
            .replace("epochs: 100", "epochs: -1")
        )
        page.fill("[data-spec]", text)
        page.wait_for_selector("[data-plan] li:has-text('사용할 수 없는 층입니다')")
        page.wait_for_selector("[data-plan] li:has-text('0 이상이어야 합니다.')")
        check_accessibility(page)


def test_a_text_has_one_key_and_another_text_another(full: FullStack, open_page: Opener) -> None:
    keys: list[str] = []

    def refuse(route: Any) -> None:
        keys.append(route.request.headers["idempotency-key"])
        route.abort()

    with open_page() as watched:
        page = watched.page
        page.goto(f"{full.root}/ui/jobs/new?recipe=and")
        page.wait_for_selector("[data-plan] .good-ink")
        page.route(re.compile("/api/v1/jobs$"), refuse)
        for text in ("", "", "\n# another one\n"):
            page.fill("[data-spec]", page.input_value("[data-spec]") + text)
            page.click("[data-train]")
            page.wait_for_selector('[role="alert"]')
            page.click('[role="alert"] button')
    assert keys[0] == keys[1] != keys[2]


def test_a_plan_of_an_earlier_text_is_not_shown(full: FullStack, open_page: Opener) -> None:
    held: list[Any] = []
    with open_page() as watched:
        page = watched.page
        page.goto(f"{full.root}/ui/jobs/new?recipe=iris")
        page.wait_for_selector("[data-plan] .good-ink")
        good = page.input_value("[data-spec]")
        page.route(re.compile("dry_run=true"), lambda route: held.append(route))  # noqa: PLW0108 - Playwright takes no built-in method
        with page.expect_request(re.compile("dry_run=true")):
            page.fill("[data-spec]", good.replace("units: 32", "units: 77"))
        page.fill("[data-spec]", "model: a")
        for route in held:
            with suppress(Exception):  # it was given up
                route.continue_()
        assert page.get_attribute("[data-plan]", "aria-busy") == "true"
        page.unroute(re.compile("dry_run=true"))
        page.fill("[data-spec]", "model: b")
        page.wait_for_selector("[data-plan] .notice.bad")
        assert "77" not in page.inner_text("[data-plan]")
        assert page.get_attribute("[data-plan]", "aria-busy") is None
