"""The password of the source: where it is read from, and that it is written nowhere."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from demo.shop import fill
from tests.e2e.work import Work

SECRET = "correct-horse-battery"


@pytest.fixture
def shop(work: Work) -> Work:
    fill(work.source, work.database, 200)
    return work


def test_a_wrong_password_is_said_and_never_shown(shop: Work) -> None:
    shop.environment = {"WHIMBREL_SOURCE_PASSWORD": SECRET}
    for command in (("migrate",), ("verify",), ("migrate", "--dry-run"), ("migrate", "--json"), ("check",)):
        result = shop.run(*command, code=2)
        assert "whimbrel" in result.stdout + result.stderr
        assert "Access denied" in result.stdout + result.stderr
        assert SECRET not in result.stdout + result.stderr
        assert "Traceback" not in result.stderr
    assert not files_with(shop, SECRET)


def test_the_password_is_in_no_output_and_in_no_file(shop: Work) -> None:
    password = shop.source.password
    for command in (("check",), ("migrate", "--until-caught-up", "--json"), ("status", "--json"), ("verify",)):
        result = shop.run(*command)
        assert password not in result.stdout + result.stderr
    assert not files_with(shop, password)
    assert any(shop.state.rglob("*.zst"))


def files_with(work: Work, secret: str) -> list[Path]:
    return [path for path in work.folder.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]


def test_a_password_in_the_project_file_is_refused(shop: Work) -> None:
    file = shop.folder / "whimbrel.toml"
    file.write_text(file.read_text().replace("whimbrel@", f"whimbrel:{SECRET}@"))
    refused = shop.run("migrate", code=2).stderr
    assert "has a password in it" in refused
    assert "WHIMBREL_SOURCE_PASSWORD" in refused
    assert SECRET not in refused


def test_a_password_file_is_read(shop: Work) -> None:
    secret = shop.folder / "secret"
    secret.write_text(shop.source.password + "\n")
    secret.chmod(stat.S_IRUSR)
    shop.environment = {"WHIMBREL_SOURCE_PASSWORD": "not this one"}
    shop.source_settings = f'password_file = "{secret}"'
    shop.write_project()
    shop.call("migrate", "--until-caught-up")
    shop.assert_equal()
