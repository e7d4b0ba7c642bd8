"""Test the settings that are computed from others."""

import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest
from pydantic import ValidationError

from shared.settings import Settings
from tests.support.databases import ROOT


@pytest.fixture
def password(tmp_path: Path) -> Path:
    """Provide a file with a password that an URL cannot contain as it is."""
    file = tmp_path / "password"
    file.write_text("a/b@c\n")
    return file


@pytest.mark.parametrize(
    ("url", "complete"),
    [
        ("postgresql://trainyard@database/trainyard", "postgresql+psycopg://trainyard:a%2Fb%40c@database/trainyard"),
        ("postgresql://trainyard:own@database/trainyard", "postgresql+psycopg://trainyard:own@database/trainyard"),
    ],
)
def test_the_password_of_a_file_is_added_to_a_url_without_one(password: Path, url: str, complete: str) -> None:
    assert Settings(_env_file=None, database_url=url, database_password_file=password).database_url == complete


@pytest.mark.parametrize(
    ("url", "complete"),
    [
        ("redis://trainyard@redis:6379/0", "redis://trainyard:a%2Fb%40c@redis:6379/0"),
        ("redis://redis:6379/0", "redis://:a%2Fb%40c@redis:6379/0"),
    ],
)
def test_redis_needs_no_user(password: Path, url: str, complete: str) -> None:
    assert Settings(_env_file=None, redis_url=url, redis_password_file=password).redis_url == complete


def test_a_missing_password_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=r"cannot be read: .*missing"):
        Settings(_env_file=None, redis_password_file=tmp_path / "missing")


@pytest.mark.parametrize(
    ("host", "published_on", "auth", "is_open"),
    [
        ("127.0.0.1", None, None, False),
        ("localhost", None, None, False),
        ("[::1]", None, None, False),
        ("::", None, None, True),
        ("192.168.1.5", None, None, True),
        ("gpu-box", None, None, True),
        ("::", "127.0.0.1", None, False),
        ("::", "::", None, True),
        ("::", None, "off", False),
        ("::", None, "keys", False),
    ],
)
def test_an_address_for_others_asks_whether_people_sign_in(
    host: str, published_on: str | None, auth: Literal["off", "keys"] | None, *, is_open: bool
) -> None:
    settings = Settings(_env_file=None, host=host, published_on=published_on, auth=auth)

    assert settings.is_open_to_others == is_open


def test_the_api_does_not_start_open_to_others(tmp_path: Path) -> None:
    environment = {"TRAINYARD_HOST": "::", "TRAINYARD_DATA_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}

    done = subprocess.run(
        [sys.executable, "-m", "api"], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert "TRAINYARD_AUTH=keys" in done.stderr
