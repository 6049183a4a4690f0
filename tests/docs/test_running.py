"""The page on running it: its exit codes, fields, log events, unit and container file are those that there are."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from whimbrel.checkpoint import Checkpoint
from whimbrel.cli import frame, stopping
from whimbrel.cli.main import main
from whimbrel.handed_over import Handover
from whimbrel.migration.late_writes import LateWrites
from whimbrel.migration.live import Update
from whimbrel.migration.past_fence_noted import PastFence
from whimbrel.migration.progress import Progress
from whimbrel.migration.status import Status
from whimbrel.migration.time_to_return import WayBack
from whimbrel.project import load_project

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "running.md").read_text()
CODES = {
    frame.OK,
    frame.BROKEN,
    frame.USER_ERROR,
    stopping.FAILED,
    frame.DEAD_LETTERS,
    frame.DIFFERENCES,
    stopping.INTERRUPTED,
}


def block(kind: str) -> str:
    [found] = re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)
    return str(found)


def settings() -> dict[str, str]:
    return dict(re.findall(r"^(\w+)=(.*)$", block("ini"), re.MULTILINE))


def test_the_exit_codes_of_the_page_are_those_that_there_are() -> None:
    listed = re.findall(r"^\| (\d+) \| (stays|starts)", PAGE, re.MULTILINE)
    assert {int(code) for code, _ in listed} == CODES
    prevented = {int(code) for code in settings()["RestartPreventExitStatus"].split()}
    good = {0, int(settings()["SuccessExitStatus"])}
    assert {int(code) for code, does in listed if does == "stays"} == prevented | good
    assert {int(code) for code, does in listed if does == "starts"} == {stopping.FAILED}
    assert good == {frame.OK, stopping.INTERRUPTED}


def test_systemd_waits_until_a_signal_has_ended_it() -> None:
    assert int(settings()["TimeoutStopSec"]) > stopping.ENDS_WITHIN + 2


def test_every_field_of_the_page_is_in_the_status() -> None:
    named = set(re.findall(r"`((?:running|handover|way_back|past_fence|late_writes|checkpoint)\.\w+)`", PAGE))
    assert len(named) >= 15
    shown = Status(
        Checkpoint(),
        Update("", Progress(), {}, None).to_dict(),
        0,
        (),
        Handover(),
        WayBack(0.0, 0.0, following=True, dead_letters=0),
        LateWrites(*(None,) * len(LateWrites.__dataclass_fields__)),  # type: ignore[arg-type]
        PastFence(*(None,) * len(PastFence.__dataclass_fields__)),  # type: ignore[arg-type]
    ).to_dict()
    assert not [name for name in named if not is_there(shown, name)]
    assert {"dead_letters", "reasons", "running"} <= shown.keys()


def is_there(values: dict[str, Any], name: str) -> bool:
    first, second = name.split(".")
    return second in values[first]


def test_every_event_of_the_log_is_one_that_is_logged() -> None:
    [sentence] = re.findall(r"for example (.*?)\.\n", PAGE, re.DOTALL)
    events = re.findall(r"`([^`]+)`", sentence.replace("\n", " "))
    code = "".join(path.read_text() for path in (ROOT / "src" / "whimbrel").rglob("*.py"))
    assert len(events) == 4
    assert not [event for event in events if not re.search(rf'log\.(warning|error)\(\s*"{event}"', code)]


def test_every_command_of_the_page_exists_with_its_options() -> None:
    lines = re.findall(r"whimbrel/bin/whimbrel ([a-z-]+) (.*)", PAGE)
    assert {name for name, _ in lines} == {"migrate", "status"}
    for name, rest in lines:
        command = main.commands[name]
        known = {option for parameter in command.params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", rest)) <= known
    prose = set(re.findall(r"`whimbrel ([a-z-]+)", PAGE))
    assert prose <= main.commands.keys()


def test_the_project_file_of_the_page_is_read(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("secret\n")
    password.chmod(0o400)
    text = block("toml").replace("/etc/whimbrel/password", str(password))
    (tmp_path / "whimbrel.toml").write_text(
        text + '\n[[table]]\nsource = "a"\ntarget = "a"\npartition_key = { name = "id" }\n'
    )
    project = load_project(tmp_path / "whimbrel.toml")
    assert (project.state, project.source.password) == (Path(settings()["WorkingDirectory"]), "secret")


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    """With a program that is there: systemd looks for it."""
    unit = tmp_path / "whimbrel.service"
    unit.write_text(block("ini").replace("/opt/whimbrel/bin/whimbrel", str(Path(sys.executable).resolve())))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, timeout=60, check=False
    )
    assert "whimbrel.service" not in done.stderr
    assert done.returncode == 0, done.stderr


def test_the_container_file_is_that_of_the_page() -> None:
    text = (ROOT / "Containerfile").read_text()
    assert block("dockerfile") == text
    copied = re.findall(r"^COPY (?!--)(.*) \S+$", text, re.MULTILINE)
    assert not [name for line in copied for name in line.split() if not (ROOT / name).exists()]
    bases = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert len(bases) == 2
    assert all(re.fullmatch(r"python:3\.\d+-\w+-\w+", base) for base in bases)
    last = text.rpartition("FROM ")[2]
    assert re.search(r"^USER [1-9]\d+$", last, re.MULTILINE)
    assert not re.search(r"^(RUN|COPY) ", last.partition("USER ")[2], re.MULTILINE)
