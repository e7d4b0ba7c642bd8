"""Test the command that invites the first admin."""

import os
import subprocess
import sys

import pytest
from flask.testing import FlaskClient

from shared.settings import Settings
from tests.support.databases import ROOT


def run(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "TRAINYARD_DATABASE_URL": settings.database_url,
        "TRAINYARD_AUTH": "keys",
    }
    command = [sys.executable, "-m", "api.admin", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_command_prints_a_link_with_which_the_first_admin_joins(http: FlaskClient, settings: Settings) -> None:
    made = run(settings, "invite", "ada", "--role", "admin", "--url", "https://gpu-box:8443/")
    address, _, token = made.stdout.strip().partition("#")

    joined = http.post("/api/v1/invitations/acceptance", json={"token": token})
    again = run(settings, "invite", "ada")
    wrong = run(settings, "invite", "Ada Lovelace")
    unknown = run(settings, "reset", "bob")
    nowhere = run(settings.model_copy(update={"database_url": "sqlite:////nowhere/x.db"}), "invite", "bob")
    bare = run(settings, "invite", "bob", "--url", "gpu-box:8000")

    assert (address, made.stderr) == ("https://gpu-box:8443/ui/join", "")
    assert joined.json["user"]["is_admin"]
    assert "`reset` makes a link" in again.stderr
    assert "2 to 32 characters" in wrong.stderr
    assert "There is no user 'bob'" in unknown.stderr
    assert "no database of Trainyard at sqlite:////nowhere/x.db" in nowhere.stderr
    assert "must begin with http" in bare.stderr
    assert (again.returncode, wrong.returncode, unknown.returncode) == (1, 1, 1)
