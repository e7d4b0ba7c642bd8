"""Test the settings that are computed from others."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from shared.settings import Settings


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
