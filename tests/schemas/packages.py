"""Schemas of real applications, from Debian's packages: taken as data, kept in .servers/schemas, never in the project.

``python -m tests.schemas.packages`` fetches them, once, with the machine's own apt (about 30 MB, of which the scripts
stay, 1 MB). Where that cannot be done it says so, and the tests that need them are skipped and say so too.
"""

from __future__ import annotations

import gzip
import io
import re
import subprocess
import tarfile
import tempfile
from pathlib import Path

from demo.from_debian import servers_folder

# package: where in it the script is that makes its tables
SCRIPTS = {
    "bacula-director-mysql": r"dbconfig-common/data/bacula-director-mysql/install/mysql",
    "gammu-smsd": r"examples/mysql\.sql(\.gz)?",
    "icinga2-ido-mysql": r"schema/mysql\.sql",
    "icingadb": r"schema/mysql/schema\.sql",
    "opendmarc": r"dbconfig-common/data/opendmarc/install/mysql",
    "pdns-backend-mysql": r"pdns-backend-mysql/schema/schema\.mysql\.sql",
    "phpmyadmin": r"phpmyadmin/sql/create_tables\.sql",
    "prelude-manager": r"dbconfig-common/data/prelude-manager/install/mysql",
    "roundcube-core": r"dbconfig-common/data/roundcube/install/mysql",
    "rsyslog-mysql": r"dbconfig-common/data/rsyslog-mysql/install/mysql",
    "tt-rss": r"schema/ttrss_schema_mysql\.sql",
    "ulogd2": r"mysql-ulogd2\.sql(\.gz)?",
    "zabbix-server-mysql": r"zabbix-server-mysql/schema\.sql(\.gz)?",
    "zoneminder": r"db/zm_create\.sql",
}


class Unavailable(Exception):
    """Why a schema is not here."""


def schema_script(package: str) -> str:
    """The script as the package has it. Raises Unavailable."""
    path = _folder() / f"{package}.sql"
    if not path.exists():
        raise Unavailable(f"{package}: its schema was not fetched. `make setup-tests` does it, where apt can")
    return path.read_text(encoding="utf-8", errors="replace")


def fetch() -> None:
    """Download what is not there yet. Raises Unavailable with what could not be had; the rest is there."""
    missing = [package for package in SCRIPTS if not (_folder() / f"{package}.sql").exists()]
    if not missing:
        return
    print(f"setup: fetching {len(missing)} schemas from Debian's packages into {_folder()} (30 MB)", flush=True)
    _folder().mkdir(parents=True, exist_ok=True)
    faults = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not _apt("download", *missing, folder=folder):
            _apt("update", folder=folder)  # a new machine has no list of packages
            for package in missing:
                _apt("download", package, folder=folder)
        for package in missing:
            try:
                _keep(package, folder)
            except Unavailable as error:
                faults.append(str(error))
    if faults:
        raise Unavailable("; ".join(faults))


def _folder() -> Path:
    return servers_folder() / "schemas"


def _apt(*arguments: str, folder: Path) -> bool:
    command = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", *arguments]
    try:
        return subprocess.run(command, cwd=folder, capture_output=True, check=False, timeout=300).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _keep(package: str, folder: Path) -> None:
    archive = next(folder.glob(f"{package}_*.deb"), None)
    if archive is None:
        raise Unavailable(f"{package} cannot be had")
    files = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(archive)], capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(files)) as tar:
        for member in tar:
            if member.isfile() and re.search(f"/{SCRIPTS[package]}$", member.name):
                content = tar.extractfile(member)
                assert content is not None
                script = content.read()
                script = gzip.decompress(script) if member.name.endswith(".gz") else script
                (_folder() / f"{package}.sql").write_bytes(script)
                return
    raise Unavailable(f"{package} has no {SCRIPTS[package]} any more")


if __name__ == "__main__":
    try:
        fetch()
    except Unavailable as why:
        print(f"setup: some schemas of real applications are not here, and their tests will be skipped: {why}")
