"""Test the page of losses and activations."""

from tests.web.conftest import FullStack, Opener, check_accessibility


def test_a_loss_is_computed_in_the_page(full: FullStack, open_page: Opener) -> None:
    with open_page() as watched:
        page = watched.page
        page.goto(f"{full.root}/ui/functions?loss=categorical_crossentropy")
        page.fill("[name=y_true]", "[[1, 0, 0]]")
        page.fill("[name=y_pred]", "[[0.7, 0.2, 0.1]]")
        page.select_option("[name=base]", "10")
        page.click("[data-compute] button")
        page.wait_for_selector("[data-loss]:has-text('0.154902')")
        page.fill("[name=arguments]", '{"label_smoothing": 0.3}')
        page.click("[data-compute] button")
        page.wait_for_selector("[data-loss]:has-text('0.2938')")
        page.fill("[name=y_pred]", "[[0.7, 0.2")
        page.click("[data-compute] button")
        page.wait_for_selector("[data-problem] .notice")
        assert page.inner_text("[data-loss]") == ""
        page.fill("[name=y_pred]", "[[0.7, 0.2]]")
        page.click("[data-compute] button")
        page.wait_for_selector("[data-problem]:has-text('(1, 3)')")
        check_accessibility(page)
