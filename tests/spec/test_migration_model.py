"""Checks spec/migration.pml with spin: the order as it is has no error, each broken variant has one that spin finds."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

MODEL = Path(__file__).parents[2] / "spec" / "migration.pml"
VARIANTS = [
    "SNAPSHOT_BEFORE_CAPTURE",
    "CAPTURE_FROM_NOW",
    "CHECKPOINT_BEFORE_WRITE",
    "LOADED_AGAIN_AFTER_APPLY",
    "MISSING_CHUNK_LEFT_OUT",
    "OLD_KEY_FORGOTTEN",
    "EMPTY_ITEM_FORGOTTEN",
    "PRUNED_AHEAD_OF_CHECKPOINT",
]
# With dead letters and with transactions that are logged before they are seen: a run of its own, with fewer changes.
LETTERS = ("LETTERS", "CHANGES=2")
VARIANTS_OF_LETTERS = [
    "START_WITHOUT_FENCE",
    "SETTLED_WITHOUT_FENCE",
    "SETTLED_ACROSS_A_BATCH",
    "LETTER_REMOVED_BEFORE_WRITE",
]
SCHEDULES_OF_LETTERS = [
    "ROW_IS_CHANGED_WHILE_ITS_LETTER_IS_SETTLED",
    "APPLIED_CHANGE_IS_NOT_SHOWN_YET",
]
SCHEDULES = [
    "SNAPSHOT_READS_ROW_BEFORE_CHANGE",
    "SNAPSHOT_READS_ROW_AFTER_CHANGE",
    "ROW_MOVES_BETWEEN_GROUPS_DURING_ITS_CHUNK",
    "GROUP_IS_EMPTIED_AND_REFILLED",
]

pytestmark = pytest.mark.skipif(
    not (shutil.which("spin") and shutil.which("gcc")),
    reason="the model of the order was not checked: it needs spin and gcc (apt-get install spin gcc)",
)


def check(folder: Path, *defines: str) -> str:
    """What spin's checker reports on the model; it stops at the first error."""
    options = [f"-D{define}" for define in defines]
    generated = subprocess.run(["spin", *options, "-a", MODEL], cwd=folder, capture_output=True, text=True)
    assert generated.returncode == 0, generated.stdout + generated.stderr
    whole = set(defines) <= set(LETTERS)
    optimise = "-O1" if whole else "-O0"  # an error is found sooner than the compiler would have optimised
    subprocess.run(["gcc", "-w", optimise, "-DSAFETY", "-DCOLLAPSE", "-o", "pan", "pan.c"], cwd=folder, check=True)
    report = subprocess.run(["./pan", "-m10000"], cwd=folder, capture_output=True, text=True).stdout
    assert "max search depth too small" not in report
    return report


def errors(report: str) -> int:
    found = re.search(r"errors: (\d+)", report)
    assert found, report
    return int(found[1])


@pytest.mark.parametrize("defines", [(), LETTERS], ids=["order", "letters"])
def test_the_order_is_right_in_every_interleaving_with_a_crash_anywhere(
    tmp_path: Path, defines: tuple[str, ...]
) -> None:
    report = check(tmp_path, *defines)
    assert errors(report) == 0, report
    assert "Search not completed" not in report
    unreached = report.partition("unreached in proctype migrate")[2]
    assert unreached.strip().startswith("(0 of"), unreached  # no step of the model is there for show


@pytest.mark.parametrize("variant", VARIANTS + VARIANTS_OF_LETTERS)
def test_a_broken_order_is_found(tmp_path: Path, variant: str) -> None:
    report = check(tmp_path, *(LETTERS if variant in VARIANTS_OF_LETTERS else ()), variant)
    assert errors(report) == 1, report
    what = "(at>=pruned)" if variant == "PRUNED_AHEAD_OF_CHECKPOINT" else "==("
    assert re.search(r"assertion violated .*" + re.escape(what), report), report


@pytest.mark.parametrize("schedule", SCHEDULES + SCHEDULES_OF_LETTERS)
def test_the_model_has_the_schedule(tmp_path: Path, schedule: str) -> None:
    report = check(tmp_path, *(LETTERS if schedule in SCHEDULES_OF_LETTERS else ()), schedule)
    assert errors(report) == 1, report
    assert "assertion violated  !(" in report  # the schedule's own, which says that it does not happen


def test_every_variant_of_the_model_is_tested() -> None:
    named = set(re.findall(r"#ifn?def (\w+)|defined\((\w+)\)", MODEL.read_text()))
    tested = {*VARIANTS, *SCHEDULES, *VARIANTS_OF_LETTERS, *SCHEDULES_OF_LETTERS}
    assert {one or other for one, other in named} == {*tested, "LETTERS", "CHANGES", "CRASHES"}
