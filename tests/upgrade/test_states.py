"""What 0.1.0 left behind is what its phases say, and stands on a source and a target that fit it."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.upgrade.conftest import PHASES, STATES, OldState


@pytest.mark.parametrize("phase", PHASES)
def test_the_start_is_still_in_the_binary_log(old_state: Callable[[str], OldState], phase: str) -> None:
    old = old_state(phase)
    checkpoint = json.loads((old.work.state / "checkpoint.json").read_text())
    start = checkpoint["start"]
    events = old.work.source.execute(f"SHOW BINLOG EVENTS IN '{start['file']}' FROM {start['offset']} LIMIT 500")
    logged = [event[2] for event in events if old.work.database in str(event[5])]
    assert any(kind.startswith(("Delete_rows", "Table_map", "Write_rows")) for kind in logged)
    assert checkpoint["version"] == 1
    assert checkpoint["source"] == json.loads((STATES / old.work.source.flavor / "server.json").read_text())["name"]


@pytest.mark.parametrize("phase", PHASES)
def test_a_table_whose_values_kept_their_form_is_migrated_to_its_end(
    old_state: Callable[[str], OldState], phase: str
) -> None:
    old = old_state(phase)
    old.work.call("migrate", "--until-caught-up", code=4)  # "full" has no value where "last" is NULL
    assert purchases(old) == expected_purchases(old)


def expected_purchases(old: OldState) -> dict[tuple[str, str], dict[str, str]]:
    """By customer and order, the quantity of each product; a customer without a name is a dead letter."""
    orders: dict[tuple[str, str], dict[str, str]] = {}
    for customer, order, product, quantity in old.rows("purchase"):
        if customer:
            orders.setdefault((customer, order), {})[product] = str(quantity)
    return orders


def purchases(old: OldState) -> dict[tuple[str, str], dict[str, str]]:
    return {
        (item.pop("customerid")["S"], item.pop("orderid")["S"]): {name: value["N"] for name, value in item.items()}
        for item in old.items("purchase")
    }
