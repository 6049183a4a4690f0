"""What docs/getting-started.md tells people to give to their server, given to servers."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from demo.servers.sql import SqlServer

PAGE = (Path(__file__).parents[1] / "docs" / "getting-started.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_settings_are_an_option_file_of_the_server(source_server: SqlServer, tmp_path: Path) -> None:
    (tmp_path / "my.cnf").write_text("\n".join(blocks("ini")))
    command = source_server._command()
    program = command[: command.index("--no-defaults")]
    told = subprocess.run(
        [*program, f"--defaults-file={tmp_path / 'my.cnf'}", "--verbose", "--help"],
        capture_output=True,
        text=True,
        check=False,
    )
    values = dict(re.findall(r"^([a-z-]+) +(\S.*?)\s*$", told.stdout, re.MULTILINE))
    assert told.returncode == 0, told.stderr[-2000:]
    assert (values["binlog-format"], values["binlog-row-image"]) == ("ROW", "FULL")
    assert (values["log-bin"], values["server-id"]) == ("binlog", "1")


def test_the_statements_are_sql_of_the_server(source_server: SqlServer) -> None:
    user = "getting_started"
    statements = [each for block in blocks("sql") for each in re.split(r";\n", block) if each.strip()]
    mine = [each.replace("'whimbrel'@", f"'{user}'@") for each in statements]
    assert len(mine) == 4
    try:
        source_server.execute(*mine)
        assert source_server.execute("SELECT @@GLOBAL.binlog_format, @@GLOBAL.binlog_row_image") == (("ROW", "FULL"),)
        assert "REPLICATION SLAVE" in source_server.execute(f"SHOW GRANTS FOR {user}")[0][0]
    finally:
        source_server.execute(f"DROP USER IF EXISTS {user}")
