"""Take the pictures of the README: `make pictures`. Trains two recipes, and opens their pages in Chromium."""

import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from tests.support.stacks import ROOT, LocalStack, local_stack
from tests.support.waiting import wait_for
from tests.web.conftest import read_recipe

FOLDER = ROOT / "docs" / "pictures"
SECONDS = 300
SEVEN = ((0.3, 0.25), (0.7, 0.25), (0.45, 0.8))


def take_pictures() -> None:
    """Write job.png, evaluation.png and try.png."""
    from playwright.sync_api import sync_playwright

    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, local_stack(Path(folder)) as stack, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        view = {"width": 1120, "height": 760}
        page = browser.new_context(viewport=view, locale="en-US", color_scheme="light").new_page()
        root = f"http://127.0.0.1:{stack.port}/ui"
        page.goto(f"{root}/jobs/{train(stack, 'fashion-dropout-best')}")
        page.wait_for_selector(".uplot")
        page.wait_for_timeout(500)
        page.screenshot(path=FOLDER / "job.png")
        evaluation = f"{root}/models/fashion-dropout-best/versions/1/evaluation"
        page.goto(f"{evaluation}?true=Shirt&predicted=T-shirt/top")
        page.locator("#matrix").scroll_into_view_if_needed()
        page.evaluate("scrollTo(0, document.querySelector('#matrix').getBoundingClientRect().top + scrollY - 24)")
        page.wait_for_timeout(1000)
        page.screenshot(path=FOLDER / "evaluation.png")
        train(stack, "mnist-cnn")
        page.goto(f"{root}/models/mnist-cnn/try")
        draw(page)
        page.screenshot(path=FOLDER / "try.png")
        browser.close()


def train(stack: LocalStack, name: str) -> str:
    """Train a recipe, and return the id of its job."""
    spec = re.sub(r"epochs: \d+", "epochs: 10", read_recipe(name)) if name.startswith("fashion") else read_recipe(name)
    answer = stack.http.post("/api/v1/jobs", content=spec, headers={"Content-Type": "application/yaml"})
    job = answer.json()["id"]
    wait_for(lambda: stack.http.get(f"/api/v1/jobs/{job}").json()["status"] == "succeeded", SECONDS)
    return str(job)


def draw(page: Any) -> None:
    """Draw a seven on the pad."""
    box = page.locator("[data-pad]").bounding_box()
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in SEVEN]
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point, steps=10)
    page.mouse.up()
    page.wait_for_selector("[data-seen]:not([hidden])")
    page.wait_for_timeout(800)


if __name__ == "__main__":
    take_pictures()
