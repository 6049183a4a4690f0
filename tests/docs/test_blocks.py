"""Every fenced block of every page is of a kind that a test takes.

=============== =======================================================================================================
console         each command is parsed by the program's own parser (here), and those of some pages are typed and their
                output compared (``test_typed_pages.py``)
toml            a project file, or a part of one: read as whimbrel reads it (here)
sql             run on the servers that it is for (``test_statements.py``)
python          compiled; each call into whimbrel is bound to the function that is there (here); run with its page
json            read (here)
ini             systemd's units, a server's settings, a profile of AWS: read by what reads them (here)
dockerfile      what it copies and installs is there (here); see also ``test_running.py``
java            part of an example that is compiled (``handover/test_java.py``)
none, or text   output and drawings: nothing that a reader would type (here)
=============== =======================================================================================================
"""

from __future__ import annotations

import ast
import configparser
import inspect
import json
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import botocore.session
import pymysql
import pytest

import whimbrel
from demo.servers import MariaDB, MySQL
from tests.docs.blocks import ROOT, Block, blocks
from tests.docs.commands import faults
from tests.docs.typed import commands
from whimbrel.project import Project, TableRule, load_project

KINDS = {"", "console", "dockerfile", "ini", "java", "json", "python", "sql", "text", "toml"}
COMMAND = re.compile(r"(\$|whimbrel|make|pip|aws|curl|python3?|sudo|SELECT|GRANT|CREATE|CALL) \S(?!.* {3}\d)")
GENERATED = {"api.md", "commands.md"}  # of signatures and of help
# What a part of a project file needs beside itself.
SOURCE = '[source]\nurl = "mysql://user@127.0.0.1/shop"\n'
TABLE = '[[table]]\nsource = "purchase"\ntarget = "purchase"\n'


# By a section: what it is never without, if none of that is there.
NEEDS = {
    **dict.fromkeys(("table", "cutover", "log", "snapshot", "load", "spark"), ({"source"}, SOURCE)),
    "silo": ({"warehouse"}, '[warehouse]\nengine = "duckdb"\nurl = "warehouse.duckdb"\n'),
    "warehouse": ({"silo"}, '[[silo]]\nname = "shop"\nurl = "mysql://user@127.0.0.1/shop"\n'),
}


def test_every_block_is_of_a_kind_that_a_test_takes() -> None:
    assert not [f"{block}: {block.kind}" for block in blocks() if block.kind not in KINDS]


def test_output_has_nothing_to_type() -> None:
    shown = [block for block in blocks("", "text") if block.page.name not in GENERATED]
    assert shown
    assert not [f"{block}: {line}" for block in shown for line in block.text.splitlines() if COMMAND.match(line)]


def test_every_command_is_one_that_its_program_takes() -> None:
    found = [(block, each) for block in blocks("console") for each in commands(block)]
    assert len(found) > 90
    assert not [f"{block}: {each.command}: {what}" for block, each in found for what in faults(each.command)]


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        ("whimbrel migrate --until-caught-up", ""),
        ("whimbrel migrate --until-caught", "No such option"),
        ("whimbrel migrat", "there is no command"),
        ("whimbrel init", "missing"),
        ("whimbrel verify one", "one argument too many"),
        ("cd x && whimbrel train --no", "No such option"),
        ("sudo -u whimbrel /opt/whimbrel/bin/whimbrel status --jason", "No such option"),
        ("make tset", "no tset"),
        ("make fuzz SECOND=1", "no SECOND"),
        ("pip install 'whimbrel[lak]'", "no extra"),
        ("pip install -r requirements/cor.txt", "not there"),
        ("aws dynamodb delete-items --table-name a", "no delete-items"),
        ("aws dynamodb delete-item --tablename a", "no --tablename"),
        ("rm -r x", "not a program"),
        (".venv/bin/python scripts/sizes", "not there"),
    ],
)
def test_a_command_that_cannot_be_typed_is_found(command: str, fault: str) -> None:
    found = faults(command)
    assert (fault in found[0]) if fault else not found, found


@pytest.mark.parametrize("block", blocks("toml"), ids=str)
def test_every_project_file_is_read(block: Block, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret\n")
    (tmp_path / "password").chmod(0o400)
    text = block.text.replace("/etc/whimbrel/password", str(tmp_path / "password"))
    for file in re.findall(r'^sql_file = "([\w.]+)"', text, re.MULTILINE):
        (tmp_path / file).write_text("SELECT 1 AS total")
    (tmp_path / "whimbrel.toml").write_text(completed(text))
    assert load_project(tmp_path / "whimbrel.toml")


def completed(text: str) -> str:
    """A part of a project file with the sections that it cannot be read without."""
    document = tomllib.loads(text)
    if isinstance(document.get("table"), dict):  # [[table.index]] alone
        return completed(f'{TABLE}partition_key = {{ name = "id" }}\n{text}')
    if document.keys() & ({each.name for each in fields(TableRule)} - {"source", "target"}):
        missing = "" if "partition_key" in document else 'partition_key = { name = "id" }\n'
        return completed(TABLE + missing + text)
    for section, (beside, part) in NEEDS.items():
        if section in document and not document.keys() & beside:
            return completed(f"{text}\n{part}")
    return text


def test_every_program_compiles_and_calls_what_is_there() -> None:
    programs = [block for block in blocks("python") if block.page.name != "api.md" or "import whimbrel" in block.text]
    assert len(programs) >= 4
    for block in programs:
        for call in ast.walk(ast.parse(block.text)):
            if isinstance(call, ast.Call) and (name := ast.unparse(call.func)).startswith("whimbrel."):
                function = getattr(whimbrel, name.removeprefix("whimbrel."))
                keywords = {each.arg: None for each in call.keywords if each.arg}
                inspect.signature(function).bind(*call.args, **keywords)


def test_an_application_follows_the_route_as_the_page_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks again while neither side takes writes, and where the source refuses one."""
    monkeypatch.chdir(tmp_path)
    [block] = [block for block in blocks("python") if block.page.name == "cutover.md"]
    routes = iter(["none", "dynamodb"])
    written: list[str] = []

    def insert(order: str) -> str:
        Path("route.json").write_text('{"side": "none"}')
        raise pymysql.err.OperationalError(1644, f"{order}: closed")

    def slept(_: float) -> None:
        Path("route.json").write_text(json.dumps({"side": next(routes)}))

    names = {
        "json": json,
        "pymysql": pymysql,
        "time": SimpleNamespace(sleep=slept),
        "insert": insert,
        "put_item": written.append,
    }
    exec(block.text, names)
    write: Any = names["write"]
    write("an order")
    assert written == ["an order"]
    assert next(routes, None) is None


def test_every_json_is_read() -> None:
    assert all(json.loads(block.text) for block in blocks("json") if block.page.name != "mappings.md")


SETTINGS = [
    pytest.param(block, id=str(block), marks=(pytest.mark.slow, pytest.mark.docs) if block.page.stem == "mysql" else ())
    for block in blocks("ini")
]


@pytest.mark.parametrize("block", SETTINGS)
def test_settings_are_taken_by_what_reads_them(block: Block, tmp_path: Path) -> None:
    settings = configparser.ConfigParser(strict=False, delimiters=("=",), allow_no_value=True)
    settings.read_string(block.text)
    for name in settings.sections():
        kind = name.partition(" ")[0]
        assert kind in {"Unit", "Service", "Timer", "Install", "mysqld", "profile"}, name
    file = tmp_path / "settings"
    file.write_text(block.text)
    if settings.has_section("mysqld"):
        _is_taken_by_a_server(settings, MySQL if block.page.stem == "mysql" else MariaDB)
    elif settings.has_section("Service"):
        _is_taken_by_systemd(block, tmp_path)
    else:
        profiles = botocore.session.Session(session_vars={"config_file": (None, None, str(file), None)}).full_config
        assert profiles["profiles"]


def _is_taken_by_a_server(settings: configparser.ConfigParser, kind: type[MariaDB | MySQL]) -> None:
    options = [f"--{name.replace('_', '-')}={value}" for name, value in settings["mysqld"].items()]
    with kind(options=options) as server:
        for name, value in settings["mysqld"].items():
            [row] = server.execute(f"SHOW GLOBAL VARIABLES LIKE '{name}'")
            assert str(row[1]).removesuffix(".000000") in (value, "ON"), name


def _is_taken_by_systemd(block: Block, folder: Path) -> None:
    """With a program and a folder that are there: systemd looks for them."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("needs systemd-analyze")
    for part in re.split(r"^# \S*/?(?=whimbrel\S*\.(?:service|timer)$)", block.text, flags=re.MULTILINE)[1:]:
        name, _, text = part.partition("\n")
        text = re.sub(r"(?<=ExecStart=)\S+", sys.executable, text)
        (folder / name).write_text(re.sub(r"(?<=WorkingDirectory=)\S+", str(folder), text))
    units = sorted(str(path) for path in folder.glob("*.*"))
    assert units
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_what_a_container_file_installs_is_there() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for block in blocks("dockerfile"):
        named = {each for found in re.findall(r"whimbrel\[([\w,-]+)\]", block.text) for each in found.split(",")}
        assert not named - extras.keys()
        for module in re.findall(r'"-m", "([\w.]+)"', block.text):
            assert (ROOT / "src" / module.replace(".", "/")).with_suffix(".py").exists()


def test_a_part_of_a_project_file_is_completed() -> None:
    assert "[[table]]" in completed('shape = "record"\n')
    assert "[source]" in completed("[cutover]\nmax_lag = 1\n")
    assert completed('[target]\nregion = "eu-west-1"\n') == '[target]\nregion = "eu-west-1"\n'
    assert {"tables", "source", "target"} <= {each.name for each in fields(Project)}
