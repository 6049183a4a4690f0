"""Setting a machine up: what can be held without one that is empty."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from demo import from_debian

ROOT = Path(__file__).resolve().parents[1]


SECURITY = "deb http://mirror.example/debian-security bookworm-security main\n"
ONE_LINE = "deb http://mirror.example/debian bookworm main\n"
WITH_OPTIONS = "deb [arch=amd64 signed-by=/k.gpg] http://mirror.example/debian/ bookworm main contrib\n"
DEB822 = "Types: deb\n# http://old.example/debian\nURIs: http://mirror.example/debian\n"
SOURCES = {
    "one-line": ("sources.list", ONE_LINE),
    "with-options": ("sources.list", WITH_OPTIONS),
    "security-first": ("sources.list", SECURITY + ONE_LINE),
    "deb822": ("sources.list.d/debian.sources", DEB822),
    "list-of-mirrors": ("mirrors/debian.list", "http://mirror.example/debian\n"),
}


@pytest.mark.parametrize(("file", "text"), SOURCES.values(), ids=SOURCES)
def test_the_mirror_is_the_one_that_apt_uses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, text: str
) -> None:
    monkeypatch.setattr(from_debian, "APT_SOURCES", tmp_path)
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(text)
    assert from_debian._mirror().rstrip("/") == "http://mirror.example/debian"


def test_without_a_debian_mirror_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(from_debian, "APT_SOURCES", tmp_path)
    (tmp_path / "sources.list").write_text("deb http://mirror.example/ubuntu noble main\n")
    with pytest.raises(from_debian.Unavailable, match="no Debian mirror"):
        from_debian._mirror()


@pytest.mark.parametrize("server", [from_debian.MYSQL, from_debian.MARIADB_11_8], ids=lambda server: server.name)
def test_a_server_that_was_not_to_be_had_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: from_debian.Unpacked
) -> None:
    monkeypatch.setenv("WHIMBREL_SERVERS", str(tmp_path))
    monkeypatch.setattr(from_debian, "APT_SOURCES", tmp_path)
    with pytest.raises(from_debian.Unavailable, match="no Debian mirror"):
        from_debian.fetch(server)
    with pytest.raises(from_debian.Unavailable, match="no Debian mirror"):
        server.command()


def test_an_old_python_is_named_before_anything_is_done(tmp_path: Path) -> None:
    old = tmp_path / "python3.10"
    old.write_text("#!/bin/sh\ncase $1 in --version) echo Python 3.10.0;; *) exit 1;; esac\n")
    old.chmod(0o755)
    environment = {"PATH": "/usr/bin:/bin", "PYTHON": str(old)}
    setup = subprocess.run(
        [ROOT / "scripts/setup", "tests"], env=environment, capture_output=True, text=True, check=False
    )
    assert setup.returncode == 1
    assert f"needs Python 3.11 or later, and {old} here is Python 3.10.0" in setup.stderr


@pytest.mark.parametrize("name", ["run", "demo", "warehouse", "dev"])
def test_every_locked_package_has_hashes(name: str) -> None:
    lock = (ROOT / f"requirements/{name}.txt").read_text().replace("\\\n", " ")
    packages = [line for line in lock.splitlines() if line.strip() and not line.startswith("#")]
    assert len(packages) > 15
    assert [line for line in packages if "--hash=sha256:" not in line or "==" not in line] == []


def test_the_smaller_lists_are_cut_from_the_largest() -> None:
    names = ("core", "run", "demo", "warehouse", "dev")
    core, run, demo, warehouse, dev = ({*pins(f"requirements/{name}.txt")} for name in names)
    assert core < demo < warehouse < dev
    assert core < run < dev


def pins(file: str) -> list[str]:
    return [line.split()[0] for line in (ROOT / file).read_text().splitlines() if "==" in line]
