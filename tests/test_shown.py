"""What a person sees: errors with their names, GTID sets cut short, and no figure that nobody knows."""

from __future__ import annotations

import ast
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from whimbrel import errors
from whimbrel.cli import frame
from whimbrel.cli.status import _live_lines
from whimbrel.migration.live import Update
from whimbrel.migration.progress import Progress, TableCounts
from whimbrel.records import Position
from whimbrel.ui.display import _line
from whimbrel.ui.shortened import shortened

ROOT = Path(__file__).parent.parent
FIRST = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
SERVERS = [f"{number:08x}-71ca-11e1-9e33-c80aa9429562:1-{number + 7}" for number in range(40)]


def test_an_error_is_printed_with_its_name_and_the_hint_on_its_own_line(capsys: pytest.CaptureFixture[str]) -> None:
    error = errors.PositionLost("asked for 1, it has 2", place="binlog of db:3306", hint="Start over.")
    frame.report_error(error, as_json=False)
    assert capsys.readouterr().err == (
        "error[PositionLost]: binlog of db:3306: asked for 1, it has 2\nhint: Start over.\n"
    )
    frame.report_error(errors.Locked("busy"), as_json=False)
    assert capsys.readouterr().err == "error[Locked]: busy\n"
    frame.report_error(error, as_json=True)
    assert json.loads(capsys.readouterr().out)["error"] == "PositionLost"


def test_a_long_gtid_set_is_cut_short_and_is_whole_in_the_log(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    whole = ",".join(SERVERS)
    error = errors.PositionLost(f"it never had the GTIDs {whole}", place="binlog")
    frame.report_error(error, as_json=False)
    assert whole in capsys.readouterr().err, "a command without a log must not lose it"
    frame.keep_log(tmp_path / "none" / "whimbrel.log")
    frame.report_error(error, as_json=False)
    assert whole in capsys.readouterr().err, "neither must one that was refused before it had a folder"
    frame.keep_log(tmp_path / "whimbrel.log")
    frame.report_error(error, as_json=False)
    assert capsys.readouterr().err == f"error[PositionLost]: binlog: it never had the GTIDs {SERVERS[0]},… (39 more)\n"
    [line] = (tmp_path / "whimbrel.log").read_text().splitlines()
    logged = json.loads(line)
    assert (logged["error"], whole in logged["reason"]) == ("PositionLost", True)


@pytest.mark.parametrize(
    ("text", "short"),
    [
        (f"at {FIRST}:1-77;", f"at {FIRST}:1-77;"),
        (f"{FIRST}:1-5:7-9:11-13:15-17:19-21:23-25:27-29:31-33:35-37:39-41", f"{FIRST}:1-5:…:39-41"),
        (",".join(f"{n}-1-{n * 10**9}" for n in range(1, 20)), "1-1-1000000000,… (18 more)"),
        ("0-1-2,1-1-3", "0-1-2,1-1-3"),
        (",\n".join(SERVERS), f"{SERVERS[0]},… (39 more)"),
        ("2026-01-31, 2026-02-01", "2026-01-31, 2026-02-01"),
    ],
)
def test_gtid_sets_are_shortened_and_nothing_else(text: str, short: str) -> None:
    assert shortened(text) == short


def told(progress: Progress) -> dict[str, Any]:
    return json.loads(json.dumps(progress.to_dict() | {"pid": 1}))


@pytest.mark.parametrize("phase", ["snapshot", "load"])
def test_no_lag_in_seconds_before_anything_is_applied(phase: str) -> None:
    progress = Progress(phase, captured=9, tables={"shop.t": TableCounts(estimated_rows=100, exported_rows=40)})
    assert told(progress)["lag_seconds"] is None
    lines = list(_live_lines(told(progress)))
    assert "lag        9 changes captured; they are applied after the load" in lines
    assert not re.search(r"\d s\b", "\n".join(lines))
    assert any("of about 100 by the source's estimate" in line for line in lines) == (phase == "snapshot")


def test_the_lag_in_seconds_is_shown_once_it_is_known() -> None:
    progress = Progress("apply", captured=9, applied=7)
    assert "behind by 2 changes" in _line(Update("", progress, {}, None))
    assert " s" not in _line(Update("", progress, {}, None)).partition("behind")[2]
    progress.applied_time = time.time() - 5
    assert re.search(r"behind by 2 changes, [5-9]\.\d s", _line(Update("", progress, {}, None)))
    here = Position("bin.1", 4)
    caught_up = Progress(
        "apply", capture_idle=True, applied_position=here, captured_position=here, asked=time.monotonic()
    )
    assert "lag        caught up" in list(_live_lines(told(caught_up)))


def test_a_large_transaction_shows_how_far_it_is() -> None:
    line = _line(Update("", Progress("apply", captured=9, capturing=1000, applying=2000), {}, None))
    assert "capturing a transaction: 1,000 changes so far" in line
    assert "applying a transaction: 2,000 changes so far" in line
    assert "applying   a transaction: 2,000 changes so far" in list(_live_lines(told(Progress("apply", applying=2000))))
    assert "stream     nothing of lanes 3" in list(_live_lines(told(Progress("apply", "nothing of lanes 3"))))


def test_every_error_is_in_the_tree_with_its_cause_and_says_what_to_do() -> None:
    code = ast.parse((ROOT / "src/whimbrel/errors.py").read_text())
    classes = {node.name: ast.get_docstring(node) for node in code.body if isinstance(node, ast.ClassDef)}
    assert all(classes.values())
    tree = re.findall(
        r"^[├└│ ─]*(\w+)  +(?:\(Retryable\) *)?(.*)$", (ast.get_docstring(code) or "").split("::")[1], re.MULTILINE
    )
    assert dict(tree).keys() == classes.keys() - {"Retryable"}
    assert all(cause for _, cause in tree)
