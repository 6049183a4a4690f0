"""When a Checkpoint is durable."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from whimbrel import checkpoint
from whimbrel.checkpoint import TableProgress
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
