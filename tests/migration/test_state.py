"""When a Checkpoint is durable."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from whimbrel import checkpoint
from whimbrel.checkpoint import TableProgress
from whimbrel.errors import StateError
from whimbrel.migration import state
from whimbrel.migration.state import CheckpointStore


def test_what_is_saved_together_is_durable_at_the_end_and_what_may_not_wait_at_once(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.json"
    kept: list[str] = []
    store = CheckpointStore(path, lambda now: kept.append(now.mark))

    def save(table: str) -> None:
        store.save(store.now.with_table(table, TableProgress(1)))

    with store.together():
        save("a")
        assert not path.exists()
        with store.together():
            save("b")
        assert checkpoint.load(path).tables.keys() == {"a", "b"}  # an inner one ends with what it was for
        save("c")
        assert "c" not in checkpoint.load(path).tables
        store.save_at_once(replace(store.now, mark="m"))
        assert checkpoint.load(path).mark == "m"
        save("d")
    assert checkpoint.load(path).tables.keys() == {"a", "b", "c", "d"}
    assert kept == ["", "m", "m"]
    with store.together():
        assert store.now == checkpoint.load(path)
    assert len(kept) == 3


def test_what_is_saved_seldom_is_durable_a_little_later_and_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, now = tmp_path / "checkpoint.json", [0.0]
    monkeypatch.setattr(state, "monotonic", lambda: now[0])
    store = CheckpointStore(path)

    def saved(table: str) -> str:
        """The tables that are durable after this one is saved."""
        store.save(store.now.with_table(table, TableProgress(1)))
        assert table in store.now.tables
        return "".join(checkpoint.load(path).tables)

    with suppress(StateError), store.seldom(0.05):
        assert saved("a") == "a"
        now[0] = 0.04
        assert saved("b") == "a"
        store.save_due()
        assert checkpoint.load(path).tables.keys() == {"a"}
        now[0] = 0.05
        store.save_due()
        assert checkpoint.load(path).tables.keys() == {"a", "b"}
        assert saved("c") == "ab"
        now[0] = 0.11
        assert saved("d") == "abcd"
        with store.together():
            assert saved("e") == "abcd"
        assert checkpoint.load(path) == store.now
        assert saved("f") == "abcde"
        raise StateError("whatever ends it")
    assert checkpoint.load(path) == store.now
    assert saved("g") == "abcdefg"
