"""Checks spec/migration.pml with spin: the order as it is has no error, each broken variant has one that spin finds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.spec.spin import SPEC, check, defines_of, errors, needed, unreached

MODEL = SPEC / "migration.pml"
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
    "START_NOT_SHOWN",
    "SETTLED_NOT_SHOWN",
    "SETTLED_ACROSS_A_BATCH",
    "LETTER_REMOVED_BEFORE_WRITE",
]
SCHEDULES_OF_LETTERS = [
    "ROW_IS_CHANGED_WHILE_ITS_LETTER_IS_SETTLED",
    "APPLIED_CHANGE_IS_NOT_SHOWN_YET",
]
# With stretches that two workers write at once: likewise.
PARALLEL = ("PARALLEL", "CHANGES=2")
VARIANTS_OF_PARALLEL = ["WITHOUT_TURNS"]
SCHEDULES = [
    "SNAPSHOT_READS_ROW_BEFORE_CHANGE",
    "SNAPSHOT_READS_ROW_AFTER_CHANGE",
    "ROW_MOVES_BETWEEN_GROUPS_DURING_ITS_CHUNK",
    "GROUP_IS_EMPTIED_AND_REFILLED",
]

pytestmark = needed


def check_migration(folder: Path, *defines: str) -> str:
    return check(folder, MODEL, *defines, whole=set(defines) <= {*LETTERS, *PARALLEL})


@pytest.mark.parametrize(
    "defines",
    [(), LETTERS, pytest.param(PARALLEL, marks=pytest.mark.slow)],
    ids=["order", "letters", "parallel"],
)
def test_the_order_is_right_in_every_interleaving_with_a_crash_anywhere(
    tmp_path: Path, defines: tuple[str, ...]
) -> None:
    report = check_migration(tmp_path, *defines)
    assert errors(report) == 0, report
    assert "Search not completed" not in report
    assert unreached(report, "migrate").strip().startswith("(0 of")  # no step of the model is there for show


@pytest.mark.parametrize("variant", VARIANTS + VARIANTS_OF_LETTERS + VARIANTS_OF_PARALLEL)
def test_a_broken_order_is_found(tmp_path: Path, variant: str) -> None:
    run = LETTERS if variant in VARIANTS_OF_LETTERS else PARALLEL if variant in VARIANTS_OF_PARALLEL else ()
    report = check_migration(tmp_path, *run, variant)
    assert errors(report) == 1, report
    what = "(at>=pruned)" if variant == "PRUNED_AHEAD_OF_CHECKPOINT" else "==("
    assert re.search(r"assertion violated .*" + re.escape(what), report), report


@pytest.mark.parametrize("schedule", SCHEDULES + SCHEDULES_OF_LETTERS)
def test_the_model_has_the_schedule(tmp_path: Path, schedule: str) -> None:
    report = check_migration(tmp_path, *(LETTERS if schedule in SCHEDULES_OF_LETTERS else ()), schedule)
    assert errors(report) == 1, report
    assert "assertion violated  !(" in report  # the schedule's own, which says that it does not happen


def test_every_variant_of_the_model_is_tested() -> None:
    tested = {*VARIANTS, *SCHEDULES, *VARIANTS_OF_LETTERS, *SCHEDULES_OF_LETTERS, *VARIANTS_OF_PARALLEL}
    assert defines_of(MODEL) == {*tested, "LETTERS", "PARALLEL", "CHANGES", "CRASHES"}
