"""Checks spec/cutover.pml with spin: the order has no error, each broken variant has the one that it is for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.spec.spin import SPEC, check, defines_of, errors, needed, unreached

MODEL = SPEC / "cutover.pml"
BOTH_OPEN = "assertion violated (fence&&"  # a write at DynamoDB while MySQL takes writes
AT_MYSQL = "assertion violated (((state=="  # a write at MySQL after the decision
DECIDED_EARLY = "&&(applied==log_end))"  # the decision, while the sides differ
RETURNED_EARLY = "assertion violated ((row==item)&&"  # the way back, while the sides differ
NONE_OPEN = "assertion violated (( !(fence)&&"  # at the end no side takes writes
LOST_FORWARD = "assertion violated (item==acknowledged)"
VARIANTS = {
    "FENCE_WITHOUT_LOCK": AT_MYSQL,
    "XA_NOT_READ": AT_MYSQL,
    "VERIFIED_BEFORE_DRAINED": DECIDED_EARLY,
    "NO_SEAL": BOTH_OPEN,
    "ROUTE_BEFORE_DECISION": BOTH_OPEN,
    "STATE_BEFORE_UNDO": NONE_OPEN,
    "STREAM_AFTER_SWITCH": RETURNED_EARLY,
    "FORWARD_NOT_ENDED": RETURNED_EARLY,
    "PLACE_BEFORE_ROWS": RETURNED_EARLY,
    "OPENED_WITHIN_LEASE": BOTH_OPEN,
    "OPENED_BEFORE_DRAINED": RETURNED_EARLY,
    "FORWARD_FROM_NOW": LOST_FORWARD,
}

pytestmark = needed


def test_exactly_one_side_is_open_and_nothing_is_lost_in_every_interleaving(tmp_path: Path) -> None:
    report = check(tmp_path, MODEL, whole=True)
    assert errors(report) == 0, report
    assert "Search not completed" not in report
    for process in ("coordinator", "application", "forward", "reverse"):
        steps = [line for line in unreached(report, process).splitlines() if ", state " in line and "-end-" not in line]
        assert steps == []  # no step of the model is there for show


@pytest.mark.parametrize(("variant", "what"), VARIANTS.items(), ids=VARIANTS)
def test_a_broken_order_is_found(tmp_path: Path, variant: str, what: str) -> None:
    report = check(tmp_path, MODEL, variant, "CRASHES=1", "WRITES=2", whole=False)
    assert errors(report) == 1, report
    assert what in report, report


def test_every_variant_of_the_model_is_tested() -> None:
    assert defines_of(MODEL) == {*VARIANTS, "CRASHES", "WRITES", "CUTOVERS"}
