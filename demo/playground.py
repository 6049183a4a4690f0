"""``make playground``: a MariaDB, a local DynamoDB-compatible server, and a shell in which to try whimbrel with them.

    python -m demo.playground              a shell
    python -m demo.playground COMMAND...   runs this command instead of a shell, and ends with its exit code

The tutorial (docs/tutorial.md) is typed into it, and its test types it too. The shell has whimbrel, ``sql`` and
``items`` on its path, WHIMBREL_SOURCE_PASSWORD, and where the servers are: SOURCE (for ``whimbrel init``) and TARGET.
Its folder is ``.playground``, made afresh each time; nothing is left running.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from demo.application import allow
from demo.servers import Ministack, ServerUnavailable, SqlServer, any_sql_server
from whimbrel.project import PASSWORD_VARIABLE
from whimbrel.project.cutover import REVERSE_PASSWORD_VARIABLE

ROOT = Path(__file__).parent.parent
FOLDER = Path(".playground")
DATABASE, WAY_BACK = "shop", "way_back"
WELCOME = """\
A {server} and a local DynamoDB are yours until you leave this shell.
  sql "SELECT ..."     talks to the database {database}
  items TABLE          prints the items of a DynamoDB table
  whimbrel ...         is whimbrel
docs/tutorial.md says what to type first. Ctrl-D leaves, and everything here is gone.
"""


def main(command: list[str]) -> int:
    """The exit code of ``command``, or of the shell."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    work = FOLDER / "work"
    work.mkdir(parents=True)
    try:
        with any_sql_server(FOLDER / "source") as source, Ministack(FOLDER / "target") as target:
            source.execute(f"CREATE DATABASE {DATABASE}")
            allow(source, DATABASE, WAY_BACK)
            if not command:
                print(WELCOME.format(server=source.name, database=DATABASE), flush=True)
            shell = command or [os.environ.get("SHELL", "/bin/bash")]
            return subprocess.run(shell, cwd=work, env=environment(source, target)).returncode
    except ServerUnavailable as error:
        print(error, file=sys.stderr)
        return 1


def environment(source: SqlServer, target: Ministack) -> dict[str, str]:
    """Of the shell. PLAYGROUND is for ``sql`` and ``items`` alone."""
    place = {"host": source.host, "port": source.port, "user": source.admin, "database": DATABASE}
    return {
        **os.environ,
        "PATH": os.pathsep.join(
            [str(ROOT / "demo" / "commands"), str(Path(sys.executable).parent), os.environ.get("PATH", "")]
        ),
        "PYTHONPATH": str(ROOT),
        "PLAYGROUND": json.dumps({**place, "endpoint": target.endpoint}),
        "SOURCE": source.url(DATABASE),
        "TARGET": target.endpoint,
        # What is typed here never reaches an account of the person's own.
        "AWS_ENDPOINT_URL": target.endpoint,
        "AWS_DEFAULT_REGION": target.region,
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        PASSWORD_VARIABLE: source.password,
        REVERSE_PASSWORD_VARIABLE: source.password,
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
