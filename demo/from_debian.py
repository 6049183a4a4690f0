"""Servers that this machine's own suite of Debian does not have: packages of another suite, unpacked into a folder and
run from there through their own loader; nothing is installed.

Debian stable has no MySQL, sid's packages clash with MariaDB's, and two releases of MariaDB clash with each other. So
apt, with a private configuration and an empty status file, downloads a server and every library that it needs (about
60 MB, 270 MB unpacked), from the mirror that this machine's own apt sources name. Suites move: when a server cannot be
fetched, the tests that need it say so and are skipped.

``python -m demo.from_debian`` fetches them, once; WHIMBREL_SERVERS says where to, else .servers in the checkout.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

APT_SOURCES = Path("/etc/apt")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


class Unavailable(Exception):
    """Why a server is not here."""


@dataclass(frozen=True)
class Unpacked:
    """A server that is run from where it was unpacked: ``name`` is its folder in ``servers_folder()``."""

    name: str
    title: str
    suite: str
    package: str
    program: str  # below ``root``

    @property
    def root(self) -> Path:
        return servers_folder() / self.name

    @property
    def reason(self) -> Path:
        """Why it could not be fetched."""
        return self.root.parent / f"{self.name}.reason"

    @property
    def is_here(self) -> bool:
        return (self.root / self.program).exists()

    def command(self) -> list[str]:
        """What starts it, up to where its options begin. Raises Unavailable with the reason."""
        if not self.is_here:
            why = (
                self.reason.read_text().strip()
                if self.reason.exists()
                else "not fetched yet. `make setup-tests` does it"
            )
            raise Unavailable(why)
        # The suite's own loader and libraries, not the system's: its libc may be newer.
        root = self.root
        loader = next(root.glob("usr/lib*/ld-linux-*.so.*"), None) or next(root.glob("usr/lib/*/ld-linux-*.so.*"))
        libraries = [str(folder) for folder in (*root.glob("usr/lib/*-linux-gnu"), root / "usr/lib")]
        return [str(loader), "--library-path", ":".join(libraries), str(root / self.program)]


MYSQL = Unpacked("mysql", "genuine MySQL", "sid", "mysql-server-core", "usr/sbin/mysqld")
# For its promtool, which reads alert rules as Prometheus does.
PROMETHEUS = Unpacked("prometheus", "Prometheus", "trixie", "prometheus", "usr/bin/promtool")
MARIADB_11_8 = Unpacked("mariadb-11.8", "MariaDB 11.8", "trixie", "mariadb-server-core", "usr/sbin/mariadbd")


def servers_folder() -> Path:
    """WHIMBREL_SERVERS, else .servers in the checkout; outside of it when we are root in a place that ``nobody`` cannot
    reach."""
    if chosen := os.environ.get("WHIMBREL_SERVERS"):
        return Path(chosen).resolve()
    folder = Path(__file__).resolve().parents[1] / ".servers"
    if os.geteuid() == 0 and not all(parent.stat().st_mode & 0o001 for parent in folder.parents):
        return Path("/var/cache/whimbrel")
    return folder


def fetch(server: Unpacked) -> None:
    """Download and unpack, unless that is done already. Raises Unavailable, and leaves the reason for the tests to
    print."""
    if server.is_here:
        return
    print(f"setup: fetching {server.title} from Debian {server.suite} into {server.root} (60 MB)", flush=True)
    server.root.parent.mkdir(parents=True, exist_ok=True)
    server.reason.unlink(missing_ok=True)
    try:
        _fetch(server)
    except Unavailable as error:
        server.reason.write_text(f"{error}\n")
        raise


def _fetch(server: Unpacked) -> None:
    private, unpacked = (server.root.parent / f"{server.name}.{part}" for part in ("apt", "unpacked"))
    for old in (private, unpacked):
        shutil.rmtree(old, ignore_errors=True)
    environment = {
        **os.environ,
        "APT_CONFIG": str(_private_apt(private, _mirror(), server.suite)),
        "DEBIAN_FRONTEND": "noninteractive",
    }
    _run(["apt-get", "-qq", "update"], environment)
    _run(
        ["apt-get", "-qq", "install", "-y", "--no-install-recommends", "--download-only", server.package],
        environment,
    )
    for package in sorted((private / "cache/archives").glob("*.deb")):
        _run(["dpkg", "-x", str(package), str(unpacked)], environment)
    shutil.rmtree(private)
    unpacked.chmod(0o755)  # `nobody` runs what is in it
    unpacked.rename(server.root)  # the name appears when the whole is there


def _mirror() -> str:
    """The Debian mirror of this machine's own apt sources; cloud images keep it in a list of mirrors."""
    files = [
        APT_SOURCES / "sources.list",
        *sorted(APT_SOURCES.glob("sources.list.d/*")),
        *sorted(APT_SOURCES.glob("mirrors/*")),
    ]
    text = "\n".join(file.read_text(errors="replace") for file in files if file.is_file())
    if found := re.search(r"^(?!\s*#).*?(https?://\S+/debian/?)(?=\s|$)", text, re.MULTILINE):
        return found[1]
    raise Unavailable("this machine's apt sources name no Debian mirror to fetch it from")


def _private_apt(folder: Path, mirror: str, suite: str) -> Path:
    for made in ("sources", "lists/partial", "cache/archives/partial", "state"):
        (folder / made).mkdir(parents=True)
    (folder / "status").touch()
    signed = f"Signed-By: {KEYRING}\n" if KEYRING.exists() else ""
    source = f"Types: deb\nURIs: {mirror}\nSuites: {suite}\nComponents: main\n{signed}"
    (folder / "sources/suite.sources").write_text(source)
    config = folder / "apt.conf"
    config.write_text(
        f"""Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "{folder / "sources"}";
Dir::State "{folder / "state"}";
Dir::State::lists "{folder / "lists"}";
Dir::State::status "{folder / "status"}";
Dir::Cache "{folder / "cache"}";
Debug::NoLocking "1";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "3";
"""
    )
    return config


def system_mysqld() -> str | None:
    """Genuine MySQL that is installed here."""
    path = shutil.which("mysqld", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if path is None:
        return None
    version = subprocess.run([path, "--no-defaults", "--version"], capture_output=True, text=True, check=False).stdout
    return None if "MariaDB" in version or "Ver " not in version else path


def _run(command: list[str], environment: dict[str, str]) -> None:
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=600)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{' '.join(command[:2])}: {error}") from None
    if done.returncode:
        last = [line for line in done.stderr.splitlines() if line.strip()][-3:]
        raise Unavailable(f"`{' '.join(command)}` failed: {' '.join(last)}")


if __name__ == "__main__":
    for each in (MARIADB_11_8, PROMETHEUS) if system_mysqld() else (MYSQL, MARIADB_11_8, PROMETHEUS):
        try:
            fetch(each)
        except Unavailable as why:
            print(f"setup: no {each.title}, and the tests that need it will be skipped: {why}")
