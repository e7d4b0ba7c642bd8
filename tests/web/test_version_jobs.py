"""Test that a version is exported and compared from its pages."""

import re

from tests.web.conftest import FullStack, Opener


def test_a_version_is_exported_from_its_page(full: FullStack, open_page: Opener) -> None:
    with open_page() as watched:
        page = watched.page
        page.goto(f"{full.root}/ui/models/digits/versions/1")
        page.click("[data-export=triton]")
        page.wait_for_url(re.compile("/ui/jobs/[0-9a-f-]{36}"))
        page.wait_for_selector("a:has-text('triton.tar.gz')", timeout=120_000)
        assert page.is_hidden('[data-act="stop"]')
        page.goto(f"{full.root}/ui/models/digits/versions/1")
        assert page.locator("[data-export=triton]").count() == 0
        with page.expect_download() as download:
            page.click("section[aria-labelledby=exports] a:has-text('triton.tar.gz')")
        assert download.value.suggested_filename.endswith("triton.tar.gz")


def test_baselines_are_computed_from_the_evaluation(full: FullStack, open_page: Opener) -> None:
    with open_page() as watched:
        page = watched.page
        page.goto(f"{full.root}/ui/models/digits/versions/1/evaluation")
        page.click("[data-baselines]")
        page.wait_for_url(re.compile("/ui/jobs/[0-9a-f-]{36}"))
        page.click("a[href$='#baselines']", timeout=120_000)
        page.wait_for_selector("section[aria-labelledby=baselines] td")
        assert page.locator("section[aria-labelledby=baselines] tbody tr").count() == 4
