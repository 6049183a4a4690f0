"""What a stream costs: CPU time for each change, of the sender and of the function, beside the applier of one process.

``python -m benchmarks.stream [--json] [--changes N] [--rounds N]``. The sender reads the log, packs records and makes
the bodies of its calls; the function unpacks records and writes items. The sink answers at once, in a process of its
own, so the CPU time is theirs alone. Leases and the network to Kinesis are not in it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.apply import GROUP, RECORD, TABLE, Result, apply, changes, measure, show, write_log
from benchmarks.null_sink import null_sink
from whimbrel.changelog.files import ChangeLogReader
from whimbrel.changelog.record import table_line
from whimbrel.dynamodb.limit import ConcurrencyLimit
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.dynamodb.write import Writer
from whimbrel.function.apply import write
from whimbrel.function.invocation import AT_ONCE
from whimbrel.function.known import Works
from whimbrel.kinesis.packed import Interval, Numbered, changes_of, unpack
from whimbrel.kinesis.puts import LaneRecord, body_of
from whimbrel.kinesis.settings import table_from_line
from whimbrel.mapping.versions import Versions
from whimbrel.migration.pack import Packer
from whimbrel.migration.send import BATCH
from whimbrel.project import TableRule, Target

CALL = 32  # records: one of each lane


def main() -> None:
    show(__doc__, compare)


def compare(count: int, rounds: int) -> list[Result]:
    with tempfile.TemporaryDirectory() as name, null_sink(0.0) as endpoint:
        folder, target = Path(name), Target(endpoint=endpoint, region="us-east-1")
        write_log(folder / "log", changes(count))
        work: dict[tuple[str, str], tuple[int, Callable[[], None]]] = {}
        for shape, rule in (("group", GROUP), ("record", RECORD)):
            records: list[LaneRecord] = []
            send(folder / "log", rule, records)
            work["read", f"{shape}: the log alone"] = (count, partial(_read, folder / "log"))
            work["send", f"{shape}: whimbrel"] = (count, partial(send, folder / "log", rule, []))
            work[shape, "in one process"] = (count, partial(apply, folder, rule, target))
            work[shape, "whimbrel"] = (count, partial(take, records, rule, target))
        return measure(work, rounds)


def _read(log: Path) -> None:
    with ChangeLogReader(log, None) as reader:
        while reader.read(BATCH):
            pass


def send(log: Path, rule: TableRule, records: list[LaneRecord]) -> None:
    """Everything but the calls; ``records`` gets what would be put."""
    head = Interval("0123456789abcdef", "0123456789abcdef01234567", 1, 0, 0, 0)
    packer = Packer({rule.source: Versions(rule, TABLE)}, lambda _: "digest", head, 0.0, "packed", 1 << 20)
    with ChangeLogReader(log, None) as reader:
        while batch := reader.read(BATCH, lines := list[bytes]()):
            packer.pack(batch, lines, lambda: reader.commit_ahead().timestamp)
            made = packer.take()
            for start in range(0, len(made), CALL):
                body_of("stream", made[start : start + CALL])
            records += made


def take(records: list[LaneRecord], rule: TableRule, target: Target) -> None:
    """Every record, as the function takes it."""
    wire = DynamoClient(target)
    works, writer = Works(0.0, ConcurrencyLimit(64), {rule.source: Versions(rule, TABLE)}), Writer(wire, target)
    definition = table_from_line(table_line(TABLE))
    waiting: dict[int, list[Numbered]] = {}
    count = 0
    for record in records:
        found = changes_of(unpack(record.data), 0, lambda _: definition)
        waiting.setdefault(record.lane, []).extend(found)
        count += len(found)
        if count >= AT_ONCE:
            write(waiting, works, writer)
            waiting, count = {}, 0
    write(waiting, works, writer)
    wire.close()


if __name__ == "__main__":
    main()
