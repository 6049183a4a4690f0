"""What whimbrel writes is its owner's alone: every command is run under a umask that hides nothing, and every file is
looked at. What it finds open, it closes and names.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from demo.servers import MariaDB, Ministack
from tests.console.running import console
from tests.e2e.work import Work
from tests.prediction.serve.conftest import Running, wait_for
from whimbrel.cli.main import main
from whimbrel.private import close_folder

pytest.importorskip("httptools", reason="the extra 'serve' is not installed")
pytest.importorskip("sklearn", reason="the extra 'predict' is not installed")
pytest.importorskip("duckdb", reason="the extra 'lake' is not installed")

ROWS = 400
MORE = """
[[dataset]]
table = "{target}"
name = "people"
[[model]]
name = "people"
target = "y"
exclude = ["id"]
[[endpoint]]
name = "people"
model = "people"
traffic = "ALL_AT_ONCE"
wait = 0
bake = 0
capture_percent = 100
[[renewal]]
model = "people"
endpoint = "people"
cron = "0 3 * * *"
"""


@pytest.fixture
def no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def people(make_work: Callable[..., Work], mariadb: MariaDB, ministack: Ministack) -> Work:
    work: Work = make_work(
        mariadb,
        ministack,
        table="person",
        mapping='shape = "record"\npartition_key = { name = "id", type = "N" }\nassert_unique = true',
    )
    values = ", ".join(f"({n}, {20 + n % 50}, '{'ab'[n % 2]}', {int(n % 50 > 25)})" for n in range(ROWS))
    mariadb.execute(
        f"CREATE TABLE `{work.database}`.person (id INT PRIMARY KEY, age INT, job VARCHAR(9), y INT)",
        f"INSERT INTO `{work.database}`.person VALUES {values}",
    )
    work.write_project()
    project = work.folder / "whimbrel.toml"
    project.write_text(project.read_text() + MORE.format(target=work.target))
    return work


def open_to_others(folder: Path) -> list[str]:
    """Everything below ``folder`` that its group or others can do anything with."""
    return [
        f"{path.relative_to(folder)} {stat.S_IMODE(path.lstat().st_mode):04o}"
        for path in sorted(folder.rglob("*"))
        if not path.is_symlink() and stat.S_IMODE(path.lstat().st_mode) & 0o077
    ]


def test_no_command_writes_anything_that_others_can_read(people: Work, no_umask: None) -> None:
    ran = set()

    def call(*words: str, code: int = 0) -> Result:
        ran.add(words[0])
        return people.call(*words, code=code)

    out = people.folder / "out"
    out.mkdir(0o700)
    for command in ("check", "preview", "snapshot", "load"):
        call(command)
    for command in ("capture", "apply", "migrate"):
        call(command, "--until-caught-up")
    for words in (("verify",), ("status",), ("retry-dead",), ("refill", "person"), ("export", people.target)):
        call(*words)
    assert list((people.state / "log").iterdir()), "nothing was captured into it"
    call("convert", people.target)
    call("query", "SELECT * FROM people", "--output", str(out / "people.csv"), "--format", "csv")
    call("restore", people.target, "--into", f"{people.target}-again")
    call("train")
    call("renew")
    ran |= serve_and_ask(people)
    ran |= watch(people)
    ran |= init(people, out / "made.toml")
    elsewhere = {
        "schedule",
        "cutover",
        "rollback",
        "finish",
        "aws",
        "converge",
    }  # schedule only runs renew; see tests/handover/test_finish, tests/warehouse; what aws writes has no secrets
    assert ran == set(main.commands) - elsewhere, "a command is not tried here"
    mine = [each for each in open_to_others(people.folder) if not each.startswith(("whimbrel.toml", "stderr.txt"))]
    assert not mine, mine


def init(people: Work, path: Path) -> set[str]:
    environment = {"WHIMBREL_SOURCE_PASSWORD": people.source.password}
    done = CliRunner().invoke(main, ["init", people.source.url(people.database), "-o", str(path)], env=environment)
    assert done.exit_code == 0, done.output
    statements = path.with_name("app.sql")
    statements.write_text("SELECT * FROM person WHERE id = 1;")
    statements.chmod(0o600)
    words = ["design", people.source.url(people.database), "--statements", str(statements)]
    done = CliRunner().invoke(main, [*words, "-o", str(path.with_name("designed.toml"))], env=environment)
    assert done.exit_code == 0, done.output
    return {"init", "design"}


def serve_and_ask(people: Work) -> set[str]:
    server = Running([sys.executable, "-m", "whimbrel", "serve", "--json", "--port", "0"], people.folder)
    try:
        for words in (("predict", "30,a"), ("endpoint", "status"), ("drift",)):
            done = CliRunner().invoke(main, [*words, "-p", str(people.folder / "whimbrel.toml")])
            assert done.exit_code == 0, (words, done.output)
    finally:
        server.stop()
    assert list((people.state / "capture").rglob("*.jsonl")), "no call was kept"
    return {"serve", "predict", "endpoint", "drift"}


def watch(people: Work) -> set[str]:
    with console(people.folder, WHIMBREL_SOURCE_PASSWORD=people.source.password) as found:
        found.open()
        assert found.post("do/verify").status == 200
        wait_for(lambda: [each for each in found.get("start")["works"] if each["ended"]], 60)
        [work] = found.get("start")["works"]
        assert (work["error"], work["result"]["equal"]) == (None, True)
    return {"console"}


def test_the_lake_is_shared_where_the_project_says_so(people: Work, no_umask: None) -> None:
    project = people.folder / "whimbrel.toml"
    project.write_text(project.read_text() + '[lake]\nreadable_by = "group"\n')
    project.chmod(0o664)
    for words in (("migrate", "--until-caught-up"), ("export", people.target), ("convert", people.target)):
        people.call(*words)
    found = [path for path in (people.folder / "lake").rglob("*") if not path.is_symlink()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in found if path.is_dir()} == {0o750}
    assert {stat.S_IMODE(path.stat().st_mode) for path in found if path.is_file()} == {0o640}
    assert stat.S_IMODE(people.state.stat().st_mode) == 0o700
    # The types are pinned in the project file, which stays open to whom it was: it holds no data.
    assert 'job = "string"' in project.read_text()
    assert stat.S_IMODE(project.stat().st_mode) == 0o664


def test_folders_that_somebody_made_open_are_closed_and_named(people: Work, no_umask: None) -> None:
    lake = people.folder / "lake"
    for folder in (people.state, lake):
        folder.mkdir(0o755)
    said = people.call("check").stderr
    for what, folder in (("state", people.state), ("lake", lake)):
        assert f"{what} folder: {folder} was open to others (mode 0755)" in said
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert "open to others" not in people.call("check").stderr


def test_a_folder_that_holds_more_than_ours_is_only_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    said = close_folder(tmp_path, "owner", around=tmp_path / "project")
    assert "is open to others (mode 0755)" in said
    assert f"chmod 0700 {tmp_path}" in said
    sticky = tmp_path / "sticky"
    sticky.mkdir()
    sticky.chmod(0o1777)
    assert "mode 1777" in close_folder(sticky, "owner", around=tmp_path / "project")
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
    assert stat.S_IMODE(sticky.stat().st_mode) == 0o1777


def test_a_library_s_umask_is_as_it_was_after_a_command(no_umask: None) -> None:
    CliRunner().invoke(main, ["status", "-p", os.devnull])
    assert os.umask(0) == 0
