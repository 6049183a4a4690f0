"""A site whose cutovers close the source otherwise than by triggers, and whose application keeps to it."""

from __future__ import annotations

import fcntl
import json
from dataclasses import replace
from pathlib import Path

import pymysql

from demo.application import Writer
from tests.handover.both_sides import Site

WRITES = "INSERT, UPDATE, DELETE"
WIDE = "SELECT User, Host FROM mysql.user WHERE Insert_priv = 'Y'"  # who may write everywhere
REFUSED = 1644, 1142  # by a trigger, for want of a right
TRIGGERS, REVOKE, COMMAND = "triggers", "revoke", "command"

GATE = """#!/usr/bin/env python3
import fcntl, os, pathlib, sys
folder = pathlib.Path(__file__).parent
event = os.environ["WHIMBREL_EVENT"]
with (folder / "told").open("a") as file:
    print(event, os.environ["WHIMBREL_SIDE"], file=file)
if (folder / "fails").exists() and event in (folder / "fails").read_text():
    sys.exit("the proxy is away")
with (folder / "gate").open("a") as gate:
    fcntl.flock(gate, fcntl.LOCK_EX)  # waits for who is at it
    if event == "fence":
        (folder / "shut").touch()
    if event == "unfence":
        (folder / "shut").unlink(missing_ok=True)
"""


def close_by(fence: str, site: Site) -> type[Writer]:
    """What writes to ``site`` from now on."""
    if fence == REVOKE:
        revoke(site)
    if fence == COMMAND:
        return gated(site)
    return Writer


def revoke(site: Site) -> None:
    """The application's account may write to its tables alone."""
    work = site.work
    user, execute = f"clerk{work.database[-6:]}", work.source.execute
    execute(
        f"CREATE USER {user}@'%' IDENTIFIED BY '{work.source.password}'",
        f"GRANT SELECT ON `{work.database}`.* TO {user}@'%'",
        f"GRANT {WRITES} ON `{work.database}`.purchase TO {user}@'%'",
        f"GRANT {WRITES} ON `{work.database}`.customer TO {user}@'%'",
        f"GRANT {WRITES} ON `{work.database}`.* TO 'whimbrel'@'%' WITH GRANT OPTION",
        "GRANT PROCESS ON *.* TO 'whimbrel'@'%'",
    )
    site.settings = replace(site.settings, user=user)
    waived = json.dumps([f"{name}@{host}" for name, host in execute(WIDE)])
    work.target_settings += f'fence = "revoke"\nrevoke_from = ["{user}@%"]\nwaived_accounts = {waived}\n'
    work.write_project()


def gated(site: Site) -> type[Writer]:
    """Through a gate that the command shuts, and that waits for who is within."""
    folder = site.work.folder
    command = folder / "fence"
    command.write_text(GATE)
    command.chmod(0o755)
    site.work.target_settings += f'fence = "command"\nfence_command = ["{command}"]\n'
    site.work.write_project()

    class Gated(Writer):
        def _at_mysql(self, key: list[str], value: int | None) -> None:
            with (folder / "gate").open("a") as gate:
                fcntl.flock(gate, fcntl.LOCK_SH)
                if is_shut(folder):
                    raise pymysql.err.OperationalError(REFUSED[0], "the gate is shut")
                super()._at_mysql(key, value)

    return Gated


def is_shut(folder: Path) -> bool:
    """By the command."""
    return (folder / "shut").exists()
