"""A state folder with anything in it: a migration goes on and ends right, or says by name what is wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from demo.servers import MariaDB, Ministack
from tests.conftest import unique
from tests.e2e.work import Work
from tests.fuzz.any import often
from whimbrel.cli.main import main

TABLE = """CREATE TABLE purchase (customerid VARCHAR(9), orderid VARCHAR(9), productid VARCHAR(9), quantity INT,
    PRIMARY KEY (customerid, orderid, productid))"""
ROWS = """INSERT INTO purchase
    VALUES ('c1', 'o1', 'p1', 1), ('c1', 'o1', 'p2', 2), ('c2', 'o1', 'p1', 3), ('c3', '', 'p1', 4)"""
CHANGES = ["UPDATE purchase SET quantity = 9 WHERE customerid = 'c1'", "DELETE FROM purchase WHERE customerid = 'c2'"]
CONTENTS = [
    b"",
    b"{}",
    b"[]",
    b"null",
    b"7\n",
    b'{"version": 99}',
    b"\0" * 40,
    b'{"a": \n',
    b'{"crc":"00000000"}\n',
    b"\xff\xfe\n",
]


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory, mariadb: MariaDB, ministack: Ministack) -> Work:
    """``saved/load``: all is exported. ``saved/apply``: changes wait in the log, and there is a dead letter."""
    folder = tmp_path_factory.mktemp("states")
    work = Work(
        folder, mariadb, mariadb.new_database(), ministack, unique("purchase"), source_settings="chunk_rows = 2"
    )
    work.write_project()
    mariadb.execute(TABLE, ROWS, database=work.database)
    work.begin()
    work.call("snapshot")
    shutil.copytree(work.state, folder / "saved" / "load")
    work.call("migrate", "--until-caught-up", code=4)
    mariadb.execute(*CHANGES, database=work.database)
    work.call("capture", "--until-caught-up", code=4)
    (work.state / "status.json").write_text("{}")
    shutil.copytree(work.state, folder / "saved" / "apply")
    return work


@st.composite
def damages(draw: st.DrawFn, root: Path) -> str:
    """Damages one file below ``root``; says which and how."""
    files = sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and path.name != "lock")
    name = draw(st.sampled_from(files))
    path = root / name
    data = path.read_bytes()
    at = draw(st.integers(0, max(0, len(data) - 1)))
    match how := draw(st.sampled_from(["cut", "flip", "other", "gone", "folder", "line"])):
        case "cut":
            path.write_bytes(data[:at])
        case "flip":
            path.write_bytes(
                data[:at] + bytes([data[at] ^ draw(st.integers(1, 255))]) + data[at + 1 :] if data else b"\n"
            )
        case "other":
            path.write_bytes(draw(st.sampled_from(CONTENTS) | st.binary(max_size=30)))
        case "line":
            path.write_bytes(data + draw(st.sampled_from(CONTENTS)) + b"\n")
        case _:
            path.unlink()
            if how == "folder":
                path.mkdir()
    return f"{name}: {how} at {at}"


def ended(work: Work, *arguments: str) -> tuple[int, str]:
    command, *options = arguments
    result = CliRunner().invoke(
        main,
        [command, "--project", str(work.folder / "whimbrel.toml"), *options],
        env={"WHIMBREL_SOURCE_PASSWORD": work.source.password},
    )
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def put_back(work: Work, state: str) -> None:
    shutil.rmtree(work.state)
    shutil.copytree(work.folder / "saved" / state, work.state)


@often(60)
@given(data=st.data())
def test_status_of_a_damaged_state(states: Work, data: st.DataObject) -> None:
    put_back(states, data.draw(st.sampled_from(["load", "apply"])))
    data.draw(damages(states.state))
    code, said = ended(states, "status", "--json")
    assert code in (0, 3, 4), said
    assert json.loads(said.splitlines()[-1]).get("hint", "ok")


@often(12)
@given(data=st.data())
def test_a_damaged_state_goes_on_or_is_refused(states: Work, data: st.DataObject) -> None:
    put_back(states, data.draw(st.sampled_from(["load", "apply"])))
    what = data.draw(damages(states.state))
    code, said = ended(states, "migrate", "--until-caught-up", "--into-existing")
    assert code in (0, 3, 4), (what, said)
    if code == 3:
        assert "error[" in said
    else:
        code, said = ended(states, "verify", "--json")
        report = json.loads(said.splitlines()[-1])
        assert set(report["tables"][0]["counts"]) <= {"unmappable"}, (what, report)


def test_what_a_lost_checkpoint_leaves_is_not_taken_for_new(states: Work) -> None:
    put_back(states, "apply")
    (states.state / "checkpoint.json").unlink()
    code, said = ended(states, "migrate", "--until-caught-up", "--into-existing")
    assert (code, "belongs to a migration whose checkpoint is missing" in said) == (3, True)
