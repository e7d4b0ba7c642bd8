"""Test how people join, sign in and out, and what each sees, in a real browser."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.stacks import LocalStack, free_port, local_stack
from tests.support.waiting import wait_for
from tests.web.conftest import Opener
from tests.web.test_every_page import look


@dataclass(frozen=True)
class ClosedStack:
    """A service in which people sign in, and the key of its admin."""

    stack: LocalStack
    key: str

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.stack.port}"

    def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.key}", **options.pop("headers", {})}
        return httpx.request(method, self.root + path, headers=headers, **options)


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    """Run an OpenID provider with a form of its own, and provide its address."""
    port = free_port()
    options = ["--port", str(port), "--user-claims", '{"sub": "account-1", "preferred_username": "noor"}']
    server = subprocess.Popen([sys.executable, "-W", "ignore", "-m", "oidc_provider_mock", *options])
    try:
        wait_for(lambda: _answers(port))
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory, provider: str) -> Iterator[ClosedStack]:
    folder = tmp_path_factory.mktemp("closed")
    secret = folder / "client-secret"
    secret.write_text("any")
    settings = {
        "OIDC_ISSUER": provider,
        "OIDC_CLIENT_ID": "trainyard",
        "OIDC_CLIENT_SECRET_FILE": str(secret),
        "OIDC_NAME": "School account",
    }
    with local_stack(
        folder, TRAINYARD_AUTH="keys", **{f"TRAINYARD_{name}": value for name, value in settings.items()}
    ) as stack:
        yield ClosedStack(stack, stack.accept(stack.invite("ada", "--role", "admin")))


def sign_in(page: Any, closed: ClosedStack, key: str, path: str = "/ui/") -> None:
    page.goto(f"{closed.root}{path}")
    page.fill("[name=key]", key)
    page.click("[data-sign-in] [type=submit]")
    page.wait_for_url(f"{closed.root}{path}")


@pytest.mark.parametrize("view", ["wide", "phone"])
@pytest.mark.parametrize(
    "path",
    [
        "/ui/account",
        "/ui/people",
        "/ui/people/ada",
        "/ui/projects",
        "/ui/projects/default",
        "/ui/audit",
        "/ui/join",
        "/ui/sign-in",
    ],
)
def test_a_page_of_a_closed_service(closed: ClosedStack, open_page: Opener, view: str, path: str) -> None:
    with open_page(view) as watched:
        sign_in(watched.page, closed, closed.key)
        watched.requests.clear()
        watched.finished.clear()
        look(watched, closed.root + path)


def test_a_student_joins_by_a_link_and_sees_who_they_are(closed: ClosedStack, open_page: Opener) -> None:
    table = "login,name,role\nkim,김민준,member\n"
    made = closed.call("POST", "/api/v1/invitations", content=table.encode(), headers={"Content-Type": "text/csv"})
    (invited,) = made.json()["invitations"]
    with open_page() as watched:
        page = watched.page
        page.goto(invited["link"])
        page.wait_for_selector("[data-invitation]:not([hidden])")
        told = page.text_content("[data-invitation]")
        assert told == "You are invited as kim, with the role member in the project default."
        page.click("[data-accept]")
        page.wait_for_selector("[data-accepted]:not([hidden])")
        key = page.text_content("[data-accepted] [data-key]")
        assert page.evaluate("location.hash") == ""
        page.click("[data-accepted] a.primary")
        page.wait_for_url(f"{closed.root}/ui/")
        assert page.text_content("header .choices a[href='/ui/account']") == "kim"
        page.goto(f"{closed.root}/ui/people")
        assert "This needs the role 'admin'" in page.text_content("main")
        assert page.text_content("main h1") == "This did not work"
        token = invited["link"].partition("#")[2]
        assert not [address for address in watched.requests if token in address]
    assert key.startswith("ty_")
    with open_page() as watched:
        watched.page.goto(invited["link"])
        watched.page.wait_for_selector("[data-problem] [role=alert]")
        assert "Invitation unusable" in watched.page.text_content("[data-problem]")
        assert not watched.page.is_visible("[data-accept]")


def test_a_student_joins_with_an_account_and_signs_in_with_it(
    closed: ClosedStack, provider: str, open_page: Opener
) -> None:
    made = closed.call("POST", "/api/v1/invitations", json=[{"login": "noor"}])
    with open_page() as watched:
        page = watched.page
        for address in (made.json()["invitations"][0]["link"], f"{closed.root}/ui/models"):
            page.goto(address)
            page.click("[data-identity-begin]")
            page.wait_for_url(f"{provider}/**")
            assert page.text_content("body").count("account-1")
            page.click("button:has-text('account-1')")
            page.wait_for_url(f"{closed.root}/ui/**")
            assert page.text_content("header .choices a[href='/ui/account']") == "noor"
            last = page.url
            page.goto(f"{closed.root}/ui/account")
            assert "School account" in page.text_content("#identity + p")
            assert page.text_content("[data-disconnect]") == "Disconnect"
            page.click("[data-sign-out]")
            page.wait_for_url(f"{closed.root}/ui/sign-in")
        assert last == f"{closed.root}/ui/models"
        page.goto(f"{closed.root}/ui/sign-in")
        page.click("[data-identity-begin]")
        page.fill("[name=sub]", "stranger")
        page.press("[name=sub]", "Enter")
        page.wait_for_url(f"{closed.root}/ui/sign-in/oidc?*")
        assert "that of nobody here" in page.text_content("main")
        page.click("main a:has-text('Try again')")
        page.wait_for_url(f"{closed.root}/ui/sign-in")


def test_a_user_connects_an_account(closed: ClosedStack, provider: str, open_page: Opener) -> None:
    with open_page() as watched:
        page = watched.page
        sign_in(page, closed, closed.key, "/ui/account")
        page.click("[data-identity-begin]")
        page.wait_for_url(f"{provider}/**")
        page.fill("[name=sub]", "account-of-ada")
        page.press("[name=sub]", "Enter")
        page.wait_for_url(f"{closed.root}/ui/account")
        page.click("[data-disconnect]")
        page.wait_for_selector("[data-identity-begin]")


def test_signing_out_ends_the_session_also_for_the_back_button(closed: ClosedStack, open_page: Opener) -> None:
    with open_page() as watched:
        page = watched.page
        sign_in(page, closed, closed.key, "/ui/jobs")
        (cookie,) = [one for one in page.context.cookies() if one["name"] == "trainyard-session"]
        assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Lax", "/")
        assert page.evaluate("document.cookie").count("trainyard-session") == 0
        page.goto(f"{closed.root}/ui/account")
        page.click("[data-sign-out]")
        page.wait_for_url(f"{closed.root}/ui/sign-in")
        page.go_back()
        page.wait_for_url("**/ui/sign-in?next=*")
        page.context.add_cookies([cookie])
        page.goto(f"{closed.root}/ui/jobs")
        assert "/ui/sign-in" in page.url


def test_a_page_of_another_site_cannot_use_the_session(closed: ClosedStack, open_page: Opener, tmp_path: Path) -> None:
    trap = tmp_path / "trap.html"
    trap.write_text(
        f"<form method='post' action='{closed.root}/api/v1/users' enctype='text/plain'>"
        '<input name=\'{"login": "eve", "x": "\' value=\'"}\'></form><button onclick=\'document.forms[0].submit()\'>win'
    )
    with open_page() as watched:
        page = watched.page
        sign_in(page, closed, closed.key)
        page.goto(trap.as_uri())
        answer = page.evaluate(
            "root => fetch(`${root}/api/v1/me`, {credentials: 'include'}).then(() => 'read', () => 'refused')",
            closed.root,
        )
        with page.expect_response("**/api/v1/users") as caught:
            page.click("button")
        assert caught.value.status == 403
        assert answer == "refused"


def test_a_key_is_made_shown_once_and_revoked(closed: ClosedStack, open_page: Opener) -> None:
    with open_page() as watched:
        page = watched.page
        sign_in(page, closed, closed.key, "/ui/account")
        page.fill("[data-create] [name=name]", "demo")
        page.fill("[data-create] [name=models]", "digits-*")
        page.click("[data-create] button[type=submit]")
        page.wait_for_selector("[data-made]:not([hidden])")
        key = page.text_content("[data-made] [data-key]")
        page.reload()
        assert key not in page.content()
        row = page.locator("tr", has_text="demo")
        assert "digits-*" in row.text_content()
        row.locator("[data-revoke]").click()
        page.click("dialog [data-yes]")
        page.wait_for_selector("tr:has-text('demo') .tag:has-text('revoked')")
    assert httpx.get(f"{closed.root}/api/v1/me", headers={"X-Api-Key": key}).status_code == 401


def test_a_teacher_runs_a_project(closed: ClosedStack, open_page: Opener) -> None:
    with open_page() as watched:
        page = watched.page
        sign_in(page, closed, closed.key, "/ui/projects")
        page.fill("[data-create] [name=name]", "class-9")
        page.fill("[data-create] [name=description]", "Thirty students")
        page.click("[data-create] button[type=submit]")
        page.click("tbody a:has-text('class-9')")
        page.fill("[data-invite] textarea", "login,role\ntea,maintainer\nlee,viewer\n")
        page.click("[data-invite] button[type=submit]")
        page.wait_for_selector("[data-links]:not([hidden])")
        links = dict(line.split("\t") for line in page.text_content("[data-links] [data-key]").splitlines())
    keys = {login: closed.stack.accept(link) for login, link in links.items()}
    with open_page() as watched:
        page = watched.page
        sign_in(page, closed, keys["tea"], "/ui/projects/class-9")
        assert page.locator("[data-archive]").count() == 0
        page.select_option("[data-member=lee]", "member")
        page.wait_for_selector("[data-member=lee] option[selected][value=member]", state="attached")
        page.click("[data-remove=lee]")
        page.click("dialog [value=no]")
        assert page.locator("[data-member=lee]").count() == 1
        page.click("[data-remove=lee]")
        page.click("dialog [data-yes]")
        page.wait_for_selector("[data-member=lee]", state="detached")
        page.goto(f"{closed.root}/ui/projects/default")
        assert "There is no project 'default'" in page.text_content("main")
    with open_page() as watched:
        page = watched.page
        sign_in(page, closed, closed.key, "/ui/projects/class-9")
        page.click("details:has([data-quotas]) summary")
        page.fill("[data-quotas] [name=device_minutes]", "600")
        page.click("[data-quotas] button[type=submit]")
        page.wait_for_selector("dl.facts dd:has-text('of 600')")
        page.click("[data-archive]")
        page.click("dialog [data-yes]")
        page.wait_for_selector(".head .tag:has-text('archived')")
        page.goto(f"{closed.root}/ui/people")
        assert "class-9" in page.text_content("tr:has-text('tea')")
        page.click("[data-admin=tea]")
        page.click("dialog [data-yes]")
        page.wait_for_selector("[data-admin=tea][data-value=false]")


def test_one_in_two_projects_chooses_where_to_train(closed: ClosedStack, open_page: Opener) -> None:
    for project in ("first", "second"):
        closed.call("PUT", f"/api/v1/projects/{project}", json={}).raise_for_status()
    guests = [{"login": "sam", "project": "first"}]
    (invited,) = closed.call("POST", "/api/v1/invitations", json=guests).json()["invitations"]
    key = closed.stack.accept(invited["link"])
    closed.call("PUT", "/api/v1/projects/second/members/sam", json={"role": "member"}).raise_for_status()
    with open_page() as watched:
        page = watched.page
        sign_in(page, closed, key, "/ui/jobs/new?recipe=xor-2")
        page.select_option("[data-project]", "second")
        page.select_option("[data-visibility]", "private")
        page.wait_for_selector("[data-train]:not([hidden])")
        page.click("[data-train]")
        page.wait_for_url(f"{closed.root}/ui/jobs/*-*-*-*-*")
        assert "second · private" in page.text_content("dl.facts")
        page.click("dl.facts a:has-text('second')")
        page.wait_for_url(f"{closed.root}/ui/projects/second")
