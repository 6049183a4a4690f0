"""What ``init`` writes about TLS, and what ``check`` says of it, for a server on this machine and for one elsewhere."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from demo.servers import MariaDB, MySQL, ServerUnavailable, SqlServer
from tests.test_login import SECRET, fresh_account
from whimbrel.cli.main import main
from whimbrel.mysql import login
from whimbrel.setup import reach

RDS = "shop.abc123.eu-central-1.rds.amazonaws.com"


@pytest.fixture(scope="module", params=[MariaDB, MySQL])
def secured(request: pytest.FixtureRequest) -> Iterator[SqlServer]:
    try:
        server = request.param(tls=True).start()
    except ServerUnavailable as reason:
        pytest.skip(str(reason))
    with server:
        yield server


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (login, reach):
        monkeypatch.setattr(module, "is_loopback", lambda _address: False)


def database_of(server: SqlServer) -> str:
    database = server.new_database()
    server.execute("CREATE TABLE t (id INT PRIMARY KEY)", database=database)
    server.connect(user=server.user, ssl_disabled=True).close()  # MySQL: its password is in the cache now
    return database


def run(server: SqlServer, *words: str, password: str = "") -> Result:
    return CliRunner().invoke(main, list(words), env={"WHIMBREL_SOURCE_PASSWORD": password or server.password})


def init(server: SqlServer, path: Path, *more: str, url: str = "") -> Result:
    return run(server, "init", url or server.url(database_of(server)), "-o", str(path), *more)


def warnings(server: SqlServer, path: Path) -> list[Any]:
    done = run(server, "check", "-p", str(path), "--json")
    assert done.exit_code == 0, done.output
    return [each for each in json.loads(done.stdout)["findings"] if each["code"] == "source-tls"]


def test_a_server_that_can_be_verified_is(secured: SqlServer, elsewhere: None, tmp_path: Path) -> None:
    path = tmp_path / "whimbrel.toml"
    done = init(secured, path, "--tls-ca", str(secured.ca), "--endpoint", "http://127.0.0.1:1")
    assert done.exit_code == 0, done.output
    assert f'tls = "verify"\ntls_ca = "{secured.ca}"\n' in path.read_text()


def test_check_warns_of_a_server_elsewhere_that_is_not_verified(
    secured: SqlServer, elsewhere: None, tmp_path: Path, ministack: Any
) -> None:
    path = tmp_path / "whimbrel.toml"
    init(secured, path, "--tls-ca", str(secured.ca), "--endpoint", ministack.endpoint)
    assert warnings(secured, path) == []
    verified = path.read_text()
    for mode, how in (("preferred", "not verified"), ("required", "not verified"), ("off", "not encrypted")):
        path.write_text(verified.replace('tls = "verify"\n', f'tls = "{mode}"\n').replace("tls_ca =", "# tls_ca ="))
        [warning] = warnings(secured, path)
        assert f'tls = "{mode}"' in warning["reason"]
        assert how in warning["reason"]


@pytest.mark.parametrize(
    ("host", "ca"), [("db.example", "ca.pem"), (RDS, "global-bundle.pem"), (f"{RDS}.cn", "global-bundle.pem")]
)
def test_a_server_that_cannot_be_verified_yet_is_verified_from_now_on(
    secured: SqlServer, elsewhere: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, ca: str
) -> None:
    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda name, *more, **rest: real("127.0.0.1", *more, **rest))
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "whimbrel.toml"
    done = init(secured, path, url=secured.url(database_of(secured)).replace("127.0.0.1", host))
    assert done.exit_code == 0, done.output
    assert "The server was not verified" in done.stderr
    assert (reach.RDS_BUNDLE in done.stderr) == (ca == "global-bundle.pem")
    assert f'tls = "verify"\ntls_ca = "{ca}"\n' in path.read_text()
    checked = run(secured, "check", "-p", str(path))
    assert checked.exit_code == 2
    assert f"source.tls_ca: '{ca}' cannot be used: No such file" in checked.output


def test_init_does_not_give_the_password_away_either(elsewhere: None, mysql: MySQL, tmp_path: Path) -> None:
    account = fresh_account(mysql)
    database = database_of(mysql)
    path = tmp_path / "whimbrel.toml"
    url = f"mysql://{account.user}@{mysql.host}:{mysql.port}/{database}"
    done = run(mysql, "init", url, "-o", str(path), password=SECRET)
    assert done.exit_code == 2, done.output
    assert "whimbrel init --tls-ca ca.pem" in done.output
    assert not path.exists()


def test_on_this_machine_nothing_is_asked_for(secured: SqlServer, tmp_path: Path) -> None:
    for number, host in enumerate(("127.0.0.1", "localhost")):
        path = tmp_path / f"{number}.toml"
        done = init(secured, path, url=secured.url(database_of(secured)).replace("127.0.0.1", host))
        assert done.exit_code == 0, done.output
        assert '# tls = "preferred"' in path.read_text()
        assert not done.stderr


def test_an_account_that_must_show_a_certificate(secured: SqlServer, tmp_path: Path) -> None:
    for name in ("client.pem", "client.key"):
        (tmp_path / name).touch(mode=0o600)
        (tmp_path / name).write_bytes((secured.folder / name).read_bytes())
    database = database_of(secured)
    user = f"x{database[-12:]}"
    secured.execute(f"CREATE USER {user} IDENTIFIED BY '{SECRET}' REQUIRE X509", f"GRANT SELECT ON *.* TO {user}")
    path, url = tmp_path / "whimbrel.toml", f"mysql://{user}@{secured.host}:{secured.port}/{database}"
    files = ("--tls-cert", str(tmp_path / "client.pem"), "--tls-key", str(tmp_path / "client.key"))
    done = run(secured, "init", url, "-o", str(path), "--tls-ca", str(secured.ca), *files, password=SECRET)
    assert done.exit_code == 0, done.output
    assert f'tls_cert = "{tmp_path / "client.pem"}"\ntls_key = "{tmp_path / "client.key"}"\n' in path.read_text()


def test_a_certificate_is_written_for_a_server_on_this_machine_too(secured: SqlServer, tmp_path: Path) -> None:
    for name in ("client.pem", "client.key"):
        (tmp_path / name).touch(mode=0o600)
        (tmp_path / name).write_bytes((secured.folder / name).read_bytes())
    path = tmp_path / "whimbrel.toml"
    done = init(secured, path, "--tls-cert", str(tmp_path / "client.pem"), "--tls-key", str(tmp_path / "client.key"))
    assert done.exit_code == 0, done.output
    assert f'\ntls_cert = "{tmp_path / "client.pem"}"' in path.read_text()
