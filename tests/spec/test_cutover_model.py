"""Checks the models of a cutover with spin: the order has no error, each broken variant has the one that it is for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.spec.spin import SPEC, check, defines_of, errors, needed, unreached

BOTH_OPEN = "assertion violated (fence&&"  # a write at DynamoDB while MySQL takes writes
AT_MYSQL = "assertion violated (((state=="  # a write at MySQL after the decision
DECIDED_EARLY = "&&(applied==log_end))"  # the decision, while the sides differ
RETURNED_EARLY = "assertion violated ((row==item)&&"  # the way back, while the sides differ
NONE_OPEN = "assertion violated (( !(fence)&&"  # at the end no side takes writes
LOST_BACK = "assertion violated (row==acknowledged)"  # the reverse stream ends, and MySQL lacks a write
OLD_AGAIN = "assertion violated ((fence&&(route=="  # an older value is back over a newer item
LOST_FORWARD = "assertion violated (item==acknowledged)"
NOT_COMPARED = "assertion violated (source["  # sides that differ, and the cutover did not see it
OUT_OF_ORDER = "assertion violated (seen[me]==log[at].old)"
NOT_BACK = "assertion violated (row==wanted)"  # MySQL is opened without what the items have
WITHOUT_COLUMNS = "assertion violated ( !(row)||"  # MySQL's row has lost the columns that no attribute has
ROUTED_BOTH = "assertion violated ((route!="
ROUTED_LATE = "assertion violated (route!="
WRITTEN_LATE = "assertion violated  !(decided)"  # a write at MySQL after the decision
LOST_WITH_THE_SOURCE = "assertion violated  !(taken)"
STEP_WITHOUT_SIDE = "assertion violated ((step!="
APPLIED_IS_MISSING = "assertion violated (((((applied<1)"  # the Checkpoint says more than the items have
WRITTEN_PAST = "assertion violated ((passed<logged)||"  # a function writes over what the application wrote
MODELS = {
    "cutover": {
        "FENCE_WITHOUT_LOCK": AT_MYSQL,
        "XA_NOT_READ": AT_MYSQL,
        "VERIFIED_BEFORE_DRAINED": DECIDED_EARLY,
        "NO_SEAL": BOTH_OPEN,
        "ROUTE_BEFORE_DECISION": BOTH_OPEN,
        "STATE_BEFORE_UNDO": NONE_OPEN,
        "STREAM_AFTER_SWITCH": RETURNED_EARLY,
        "FORWARD_NOT_ENDED": OLD_AGAIN,
        "PLACE_BEFORE_ROWS": LOST_BACK,
        "OPENED_WITHIN_LEASE": BOTH_OPEN,
        "OPENED_BEFORE_DRAINED": RETURNED_EARLY,
        "FORWARD_FROM_NOW": LOST_FORWARD,
    },
    "dirty": {
        "SAVED_BEFORE_SYNC": NOT_COMPARED,
        "OLD_KEY_NOT_DIRTY": NOT_COMPARED,
        "NOT_FROM_THE_CHECKPOINT": NOT_COMPARED,
        "ITEMS_BEFORE_PLACE": NOT_COMPARED,
        "FROM_THE_END": NOT_COMPARED,
        "STREAM_AFTER_VERIFICATION": NOT_COMPARED,
    },
    "coordinators": {
        "FENCE_WITHOUT_ROW": STEP_WITHOUT_SIDE,
        "UNDO_OF_ANOTHERS": ROUTED_BOTH,
        "DECIDED_BY_FILE": ROUTED_BOTH,
        "ROUTE_WITHOUT_EPOCH": ROUTED_LATE,
    },
    "revoke": {
        "REVOKED_WITHIN_LOCK": WRITTEN_LATE,
        "NOT_WAITED": WRITTEN_LATE,
        "GRANTED_ON_SCHEMA": WRITTEN_LATE,
    },
    "gone": {
        "GONE_BY_STEP": LOST_WITH_THE_SOURCE,
        "GONE_BY_END": LOST_WITH_THE_SOURCE,
        "PLACE_AFTER_ROW": LOST_WITH_THE_SOURCE,
    },
    "lanes": {
        "LEASE_ENDS_EARLY": APPLIED_IS_MISSING,
        "RELEASED_UNANSWERED": APPLIED_IS_MISSING,
        "GAP_APPLIED": APPLIED_IS_MISSING,
        "DUPLICATE_APPLIED": APPLIED_IS_MISSING,
        "PASSED_BEFORE_WRITE": APPLIED_IS_MISSING,
        "CHECKPOINT_BY_SENT": APPLIED_IS_MISSING,
        "RESUMED_WITHOUT_NEEDED": APPLIED_IS_MISSING,
        "PASSED_BEFORE_LETTERS": APPLIED_IS_MISSING,
        "PASSED_OVER_A_GAP": APPLIED_IS_MISSING,
        "LEASE_NOT_WAITED": APPLIED_IS_MISSING,
        "LETTERS_GO_FIRST": APPLIED_IS_MISSING,
    },
    "stream_cutover": {
        "OPENED_WHEN_APPLIED": WRITTEN_PAST,
        "QUIET_BEFORE_APPLIED": WRITTEN_PAST,
        "LOG_BEGINS_AGAIN": WRITTEN_PAST,
    },
    "reverse": {
        "START_WITHOUT_MARKER": OUT_OF_ORDER,
        "LANE_REPEATS": OUT_OF_ORDER,
        "ONE_PLACE_A_SHARD": NOT_BACK,
        "CHILD_BEFORE_PARENT": NOT_BACK,
        "END_BY_QUIET": NOT_BACK,
        "NO_RECONCILIATION": NOT_BACK,
        "RECONCILED_ITEM_BY_ITEM": NOT_BACK,
        "RECONCILED_BEFORE_CLOSED": NOT_BACK,
        "TOUCHED_IN_MEMORY": NOT_BACK,
        "COMPARED_ON_THE_LIST": NOT_BACK,
        "IN_HAND_FORGOTTEN": NOT_BACK,
        "FORMER_ITEM_NOT_TOUCHED": NOT_BACK,
        "TAKEN_DURING_A_WRITE": NOT_BACK,
        "UNMAPPED_FORGOTTEN": WITHOUT_COLUMNS,
    },
}
SIZES = {
    "cutover": {"CRASHES", "WRITES", "CUTOVERS"},
    "dirty": {"CRASHES", "CHANGES"},
    "coordinators": {"COMMANDS"},
    "revoke": {"STATEMENTS"},
    "gone": {"COMMANDS"},
    "lanes": {"LAST", "SLOTS", "TROUBLES"},
    "stream_cutover": {"SLOTS", "TROUBLES"},
    "reverse": {"CRASHES", "CHANGES", "LOOKS"},
}
LONG = ("lanes",)  # what `make test` leaves to `make test-all`
SMALL = {"cutover": ("CRASHES=1", "WRITES=2")}  # enough for what a broken order does
PROCESSES = {
    "cutover": ("coordinator", "application", "forward", "reverse"),
    "dirty": ("coordinator", "application", "applier", "somebody"),
    "coordinators": ("coordinator",),
    "revoke": ("coordinator",),
    "gone": ("coordinator", "application", "disaster"),
    "lanes": ("network", "clock", "invocation", "sender"),
    "stream_cutover": ("network", "clock", "invocation", "sender", "coordinator"),
    "reverse": ("application", "stream", "reader", "lane", "early", "rollback"),
}

pytestmark = needed


@pytest.mark.parametrize(
    ("model", "size"),
    [
        *(pytest.param(model, (), marks=pytest.mark.slow if model in LONG else (), id=model) for model in MODELS),
        pytest.param("reverse", ("CHANGES=3",), marks=pytest.mark.slow, id="reverse-3"),
    ],
)
def test_there_is_no_error_in_any_interleaving(tmp_path: Path, model: str, size: tuple[str, ...]) -> None:
    report = check(tmp_path, SPEC / f"{model}.pml", *size, whole=True)
    assert errors(report) == 0, report
    assert "Search not completed" not in report
    for process in PROCESSES[model]:
        steps = [line for line in unreached(report, process).splitlines() if ", state " in line and "-end-" not in line]
        assert steps == []  # no step of the model is there for show


@pytest.mark.parametrize(
    ("model", "variant", "what"),
    [
        pytest.param(model, variant, what, marks=pytest.mark.slow if model in LONG else ())
        for model, variants in MODELS.items()
        for variant, what in variants.items()
    ],
    ids=[variant for variants in MODELS.values() for variant in variants],
)
def test_a_broken_order_is_found(tmp_path: Path, model: str, variant: str, what: str) -> None:
    report = check(tmp_path, SPEC / f"{model}.pml", variant, *SMALL.get(model, ()), whole=False)
    assert errors(report) == 1, report
    assert what in report, report


@pytest.mark.parametrize("model", MODELS)
def test_every_variant_of_the_model_is_tested(model: str) -> None:
    assert defines_of(SPEC / f"{model}.pml") == {*MODELS[model], *SIZES[model]}
