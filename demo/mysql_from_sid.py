"""Genuine MySQL from Debian sid, unpacked into a folder and run from there through its own loader; nothing is
installed.

Debian stable has no MySQL, and sid's packages clash with MariaDB's. So apt, with a private configuration and an empty
status file, downloads ``mysql-server-core`` and every library that it needs (about 60 MB, 270 MB unpacked), from the
mirror that this machine's own apt sources name. sid moves: when it cannot be fetched, the tests say so and go on with
MariaDB.

``python -m demo.mysql_from_sid`` fetches it, once; WHIMBREL_SERVERS says where to, else .servers in the checkout.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

APT_SOURCES = Path("/etc/apt")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


class Unavailable(Exception):
    """Why there is no MySQL here."""


def servers_folder() -> Path:
    """WHIMBREL_SERVERS, else .servers in the checkout; outside of it when we are root in a place that ``nobody`` cannot
    reach."""
    if chosen := os.environ.get("WHIMBREL_SERVERS"):
        return Path(chosen).resolve()
    folder = Path(__file__).resolve().parents[1] / ".servers"
    if os.geteuid() == 0 and not all(parent.stat().st_mode & 0o001 for parent in folder.parents):
        return Path("/var/cache/whimbrel")
    return folder


def server_command() -> list[str]:
    """What starts mysqld, up to where its options begin. Raises Unavailable with the reason."""
    if system := _system_mysqld():
        return [system, "--no-defaults"]
    root = servers_folder() / "mysql"
    if not (root / "usr/sbin/mysqld").exists():
        reason = root.with_suffix(".reason")
        raise Unavailable(
            reason.read_text().strip() if reason.exists() else "not fetched yet. `make setup-tests` does it"
        )
    # sid's loader and libraries, not the system's: its libc is newer than what stable has.
    loader = next(root.glob("usr/lib*/ld-linux-*.so.*"), None) or next(root.glob("usr/lib/*/ld-linux-*.so.*"))
    libraries = [str(folder) for folder in (*root.glob("usr/lib/*-linux-gnu"), root / "usr/lib")]
    share = root / "usr/share/mysql"
    return [
        *(str(loader), "--library-path", ":".join(libraries), str(root / "usr/sbin/mysqld"), "--no-defaults"),
        f"--basedir={root / 'usr'}",
        f"--lc-messages-dir={share}",
        f"--character-sets-dir={share / 'charsets'}",
        f"--plugin-dir={root / 'usr/lib/mysql/plugin'}",
    ]


def fetch() -> None:
    """Download and unpack, unless that is done already. Raises Unavailable, and leaves the reason for the tests to
    print."""
    servers = servers_folder()
    if _system_mysqld() or (servers / "mysql/usr/sbin/mysqld").exists():
        return
    print(f"setup: fetching genuine MySQL from Debian sid into {servers} (60 MB)", flush=True)
    reason = servers / "mysql.reason"
    servers.mkdir(parents=True, exist_ok=True)
    reason.unlink(missing_ok=True)
    try:
        _fetch_into(servers)
    except Unavailable as error:
        reason.write_text(f"{error}\n")
        raise


def _fetch_into(servers: Path) -> None:
    private, unpacked = servers / "mysql.apt", servers / "mysql.unpacked"
    for old in (private, unpacked):
        shutil.rmtree(old, ignore_errors=True)
    environment = {
        **os.environ,
        "APT_CONFIG": str(_private_apt(private, _mirror())),
        "DEBIAN_FRONTEND": "noninteractive",
    }
    _run(["apt-get", "-qq", "update"], environment)
    _run(
        ["apt-get", "-qq", "install", "-y", "--no-install-recommends", "--download-only", "mysql-server-core"],
        environment,
    )
    for package in sorted((private / "cache/archives").glob("*.deb")):
        _run(["dpkg", "-x", str(package), str(unpacked)], environment)
    shutil.rmtree(private)
    unpacked.chmod(0o755)  # `nobody` runs what is in it
    unpacked.rename(servers / "mysql")  # the name appears when the whole is there


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
    raise Unavailable("this machine's apt sources name no Debian mirror to fetch mysql-server-core from")


def _private_apt(folder: Path, mirror: str) -> Path:
    for made in ("sources", "lists/partial", "cache/archives/partial", "state"):
        (folder / made).mkdir(parents=True)
    (folder / "status").touch()
    signed = f"Signed-By: {KEYRING}\n" if KEYRING.exists() else ""
    (folder / "sources/sid.sources").write_text(f"Types: deb\nURIs: {mirror}\nSuites: sid\nComponents: main\n{signed}")
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


def _system_mysqld() -> str | None:
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
        raise Unavailable(f"`{' '.join(command)}` from Debian sid failed: {' '.join(last)}")


if __name__ == "__main__":
    try:
        fetch()
    except Unavailable as why:
        print(f"setup: no genuine MySQL, and the tests that need it will be skipped: {why}")
