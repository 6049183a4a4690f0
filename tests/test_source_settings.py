"""The source's settings that are about secrets and TLS: what is refused when the project file is read, and where a
password could be printed.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from whimbrel.cli.main import main
from whimbrel.errors import ProjectError, UserError
from whimbrel.project import load_project, split_url
from whimbrel.project.section import without_password

SECRET = "pa55-of-the-test"


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.touch(mode=0o600)
    path.write_text(f"{SECRET}\n")
    return path


def loaded(folder: Path, *settings: str, target: str = "") -> Any:
    path = folder / "whimbrel.toml"
    path.write_text('[source]\nurl = "mysql://app@db.example/shop"\n' + "\n".join(settings) + f"\n[target]\n{target}\n")
    return load_project(path)


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_a_password_file_of_ours_alone_is_read(tmp_path: Path, password_file: Path, mode: int) -> None:
    password_file.chmod(mode)
    assert loaded(tmp_path, f'password_file = "{password_file}"').source.password == SECRET


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o644, 0o444, 0o666])
def test_a_password_file_that_others_can_use_is_refused(tmp_path: Path, password_file: Path, mode: int) -> None:
    password_file.chmod(mode)
    with pytest.raises(ProjectError, match=rf"password_file: .* can be read by others \(mode 0{mode:o}\): chmod 600"):
        loaded(tmp_path, f'password_file = "{password_file}"')


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_password_file_of_another_user_is_refused(tmp_path: Path, password_file: Path) -> None:
    os.chown(password_file, 12345, -1)
    with pytest.raises(ProjectError, match=r"belongs to another user \(uid 12345\)"):
        loaded(tmp_path, f'password_file = "{password_file}"')


@pytest.mark.skipif(os.geteuid() != 0, reason="a secret that is mounted is root's")
@pytest.mark.parametrize(
    ("mode", "taken"), [(0o444, True), (0o644, True), (0o440, True), (0o664, False), (0o646, False)]
)
def test_a_secret_on_a_read_only_mount_is_taken(
    tmp_path: Path, password_file: Path, monkeypatch: pytest.MonkeyPatch, mode: int, taken: bool
) -> None:
    password_file.chmod(mode)
    monkeypatch.setattr(os, "statvfs", lambda _path: SimpleNamespace(f_flag=os.ST_RDONLY))
    if taken:
        assert loaded(tmp_path, f'password_file = "{password_file}"').source.password == SECRET
    else:
        with pytest.raises(ProjectError, match="can be read by others"):
            loaded(tmp_path, f'password_file = "{password_file}"')


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (('tls_ca = "ca.pem"',), 'tls_ca: has no effect with tls = "preferred"'),
        (('tls = "required"', 'tls_ca = "ca.pem"'), 'tls_ca: has no effect with tls = "required"'),
        (('tls_key = "k.pem"',), "tls_key: needs tls_cert"),
        (('tls = "off"', 'tls_cert = "c.pem"'), "tls_cert: has no effect without TLS"),
        (('socket = "/run/mysqld.sock"', 'tls_cert = "c.pem"'), "tls_cert: has no effect without TLS"),
    ],
)
def test_settings_that_would_protect_nothing_are_refused(tmp_path: Path, settings: tuple[str, ...], said: str) -> None:
    with pytest.raises(ProjectError, match=said):
        loaded(tmp_path, *settings)


# -- nothing prints a password -----------------------------------------------------------------------------------------

URLS = [
    f"mysql://app:{SECRET}@/shop",
    f"mysql://app:{SECRET}@db:port/shop",
    f"mysql://app:{SECRET}@[db/shop",
    f"postgres://app:{SECRET}@db/shop",
    f"mysql://app:p@{SECRET}@[db/shop",
    f"mysql://app:p/{SECRET}@db:x/shop",
    f"mysql:/app:{SECRET}@db/shop",
    f"mysql:app:{SECRET}@db/shop",
    f"app:{SECRET}@db/shop",
    f"mysql://:{SECRET}@db/shop",
    f"mysql://app:{SECRET}#@db:x/shop",
    f"mysql://app:{SECRET}?x@db:x/shop",
    f" mysql://app:{SECRET}@db:x/shop",
]


@pytest.mark.parametrize("url", URLS)
def test_no_url_is_shown_with_its_password(tmp_path: Path, url: str) -> None:
    with pytest.raises(ProjectError) as raised:
        split_url(url)
    assert SECRET not in str(raised.value)
    done = CliRunner().invoke(main, ["init", url, "-o", str(tmp_path / "made.toml")])
    assert done.exit_code == 2
    assert SECRET not in done.output
    path = tmp_path / "whimbrel.toml"
    path.write_text(f'[source]\nurl = "{url}"\n')
    done = CliRunner().invoke(main, ["check", "-p", str(path)])
    assert done.exit_code == 2
    assert SECRET not in done.output


@pytest.mark.parametrize(
    "endpoint",
    [f"http://app:{SECRET}@127.0.0.1:1", f"http://{SECRET}@127.0.0.1:1", f"https://a:{SECRET}@dynamodb.example/x"],
)
def test_an_endpoint_with_a_password_is_refused_without_showing_it(tmp_path: Path, endpoint: str) -> None:
    with pytest.raises(UserError, match=r"target\.endpoint: has a user or password in it") as raised:
        loaded(tmp_path, target=f'endpoint = "{endpoint}"')
    assert SECRET not in str(raised.value)
    with pytest.raises(UserError, match=r"lake\.s3_endpoint: has a user or password in it"):
        loaded(tmp_path, target=f'[lake]\ns3_endpoint = "{endpoint}"')
    url = "mysql://app@127.0.0.1:1/shop"
    done = CliRunner().invoke(main, ["init", url, "--endpoint", endpoint, "-o", str(tmp_path / "made.toml")])
    assert done.exit_code == 2
    assert "has a user or password in it" in done.output
    assert SECRET not in done.output


@pytest.mark.parametrize("url", [f"http://app:{SECRET}@127.0.0.1:1", f"http://app:{SECRET}@[x"])
def test_an_endpoint_of_the_environment_is_not_shown_with_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    path = tmp_path / "whimbrel.toml"
    path.write_text('[target]\nregion = "us-east-1"\n')
    done = CliRunner().invoke(main, ["export", "-p", str(path), "some-table"])
    assert done.exit_code == 2, done.output
    assert SECRET not in done.output


@pytest.mark.parametrize(
    "text",
    ["http://127.0.0.1:8000", "http://[::1]:8000 is not an endpoint URL", "mysql://app@db:3306/shop", "a: b", "x@y: z"],
)
def test_what_has_no_password_is_shown_as_it_is(text: str) -> None:
    assert without_password(text) == text
