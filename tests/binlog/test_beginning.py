"""How a file of the binlog begins, and who wrote it: read from the server, and on the way through."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from demo.servers import MariaDB, MariaDB118, ServerUnavailable
from demo.servers.process import give_to_unprivileged
from tests.binlog.conftest import Source
from whimbrel.errors import SchemaDrift
from whimbrel.mysql.binlog.beginning import beginning_of


def test_a_file_begins_the_same_however_it_is_read(source: Source, use_gtid: bool) -> None:
    source.execute("CREATE TABLE t (id INT PRIMARY KEY)")
    start, table, found = source.position(), source.table(), {}
    source.execute("INSERT INTO t VALUES (1)", "FLUSH BINARY LOGS", "INSERT INTO t VALUES (2)", "FLUSH BINARY LOGS")
    source.execute("INSERT INTO t VALUES (3)")
    end = source.position()
    with source.stream(start, table, use_gtid=use_gtid) as stream:
        for output in stream:
            if not isinstance(output, list):
                found[output.position.file] = stream.beginning
                if output.position.at_or_after(end):
                    break
    entered = {file: beginning for file, beginning in found.items() if file != start.file}
    assert len(entered) == 2
    for file, beginning in entered.items():
        assert beginning == beginning_of(source.source, file)
        assert beginning
        assert beginning.gtids
    assert beginning_of(source.source, "bin.999999") is None


@pytest.mark.slow
def test_a_log_of_before_an_upgrade_is_read_as_the_old_server_did(tmp_path: Path) -> None:
    """To the server that wrote it, the text of the version comments was a comment."""
    try:
        old, new = MariaDB(tmp_path / "old"), MariaDB118(tmp_path / "new")
    except ServerUnavailable as reason:
        pytest.skip(str(reason))
    tables = "CREATE TABLE t (id INT PRIMARY KEY)", "CREATE TABLE other (id INT PRIMARY KEY)"
    with old:
        old.execute("CREATE DATABASE d")
        before = Source(old, "d")
        before.execute(*tables)
        start = before.position()
        before.execute(
            "RENAME TABLE other TO another /*M!110100 , t TO u */",
            "INSERT INTO t VALUES (1)",
            "RENAME TABLE another TO other /*M!100100 , t TO u */",
        )
    with new:
        new.execute(
            "SET sql_log_bin = 0", "CREATE DATABASE d", *(each.replace("TABLE ", "TABLE d.") for each in tables)
        )
        new.stop()
        _move_binlog(old, new)
        new.start()
        after = Source(new, "d")
        outputs: list[Any] = []
        with after.stream(start, after.table()) as stream, pytest.raises(SchemaDrift, match="100100"):
            outputs.extend(stream)
        assert [change.after for output in outputs if isinstance(output, list) for change in output] == [(1,)]


def _move_binlog(old: MariaDB, new: MariaDB) -> None:
    for file in new.data.glob("bin.*"):
        file.unlink()
    files = [Path(shutil.copy(file, new.data)) for file in sorted(old.data.glob("bin.*")) if file.suffix != ".index"]
    (new.data / "bin.index").write_text("".join(f"{file}\n" for file in files if file.suffix != ".state"))
    give_to_unprivileged(new.data)
