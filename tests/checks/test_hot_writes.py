"""How often something is written, where nothing says how long it took."""

from __future__ import annotations

from collections import Counter

from whimbrel.checks.writes import Writes, write_findings


def test_changes_of_a_transaction_that_was_not_read_to_its_end_have_no_rate() -> None:
    """No Commit came within the time that check reads: it ended with a division by zero."""
    writes = Writes(changes=Counter(t=5_000), partitions={"t": Counter({"customer=hot": 4_500, "customer=c": 500})})
    assert list(write_findings(writes)) == []
    writes.since, writes.until = 1.0, 2.0
    assert [each.code for each in write_findings(writes)] == ["hot-writes"]
