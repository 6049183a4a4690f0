"""The application of docs/examples/java through a cutover and a rollback, judged by what it noted.

It needs a JDK 17, and in WHIMBREL_JDBC_DRIVER the path of MariaDB's Connector/J, neither of which `make test` installs.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.handover.both_sides import Site

ROOT = Path(__file__).resolve().parents[2]
DRIVER = os.environ.get("WHIMBREL_JDBC_DRIVER", "")

SHOWN = re.compile(r"```java\n(.*?)```", re.DOTALL)


def test_what_the_page_shows_is_in_the_example() -> None:
    """Line by line, whatever the indentation."""
    (shown,) = SHOWN.findall((ROOT / "docs/cutover.md").read_text())
    example = (ROOT / "docs/examples/java/Purchases.java").read_text()
    assert "\n".join(line.strip() for line in shown.splitlines()) in "\n".join(
        line.strip() for line in example.splitlines()
    )


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("classes")
    sources = [ROOT / "docs/examples/java/Purchases.java", ROOT / "tests/handover/WritesPurchases.java"]
    subprocess.run(["javac", "--release", "17", "-Xlint:all,-serial", "-Werror", "-d", folder, *sources], check=True)
    return folder


@contextmanager
def application(site: Site, classes: Path) -> Iterator[None]:
    settings = site.settings
    arguments = [
        f"jdbc:mariadb://{settings.host}:{settings.port}/{settings.database}?allowPublicKeyRetrieval=true",
        settings.user,
        settings.password,
        settings.endpoint,
        settings.purchase,
        settings.route,
        settings.logs,
        "4",
    ]
    command = ["java", "-cp", f"{classes}{os.pathsep}{DRIVER}", "WritesPurchases", *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        try:
            yield
            process.communicate(timeout=60)  # the end of its input ends it
            assert process.returncode == 0
        finally:
            process.kill()


def written(site: Site, more: int = 50) -> None:
    before = site.notes.acknowledged()
    site.work.wait_for(lambda: site.notes.acknowledged() >= before + more)


@pytest.mark.slow
@pytest.mark.skipif(
    not shutil.which("javac") or not Path(DRIVER).is_file(),
    reason="needs a JDK 17, and MariaDB's Connector/J by WHIMBREL_JDBC_DRIVER",
)
def test_there_and_back(site: Site, classes: Path) -> None:
    with application(site, classes):
        written(site)
        site.work.run("migrate", "--until-caught-up")
        site.work.run("verify")
        assert site.said("cutover", "--until-open")["side"] == "dynamodb"
        written(site)
        assert site.said("rollback")["side"] == "mysql"
        written(site)
        site.work.run("migrate", "--until-caught-up")
        site.work.run("verify")
        assert site.said("cutover", "--until-open")["side"] == "dynamodb"
        written(site)
    assert site.at_dynamodb() == []
    assert site.said("rollback")["side"] == "mysql"
    assert site.at_mysql() == []
