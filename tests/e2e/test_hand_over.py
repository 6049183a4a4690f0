"""From the snapshot to the load: a chunk that is gone, exchanged, old or another's is never loaded, and never missed.

Nothing has been applied by then, so what does not fit the plan is read from the source again, and the target is right.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from demo.shop import CREATE
from tests.e2e import judge
from tests.e2e.work import GROUP, RECORD, Work
from whimbrel import checkpoint
from whimbrel.checkpoint import TableProgress
from whimbrel.errors import StateError
from whimbrel.migration.load import Loader
from whimbrel.snapshot_files import read_chunk, write_chunk

UNALIGNED = """
shape = "group"
partition_key = { name = "productid" }
sort_key = { name = "orderid" }
entry = { name = "${customerid}", value = "quantity" }
"""
CHUNKS = 6
CHANGES = [
    "INSERT INTO purchase VALUES ('c', 'o1', 'p3', 13), ('d', 'o9', 'p1', 91)",
    "UPDATE purchase SET quantity = 0 WHERE orderid = 'o2' AND productid = 'p1'",
    "UPDATE purchase SET orderid = 'o6', productid = 'p7' WHERE quantity = 51",
    "DELETE FROM purchase WHERE orderid = 'o3'",
    "UPDATE purchase SET orderid = 'o3' WHERE orderid = 'o4' AND productid = 'p1'",
]


def by_product(work: Work) -> judge.Expected:
    items: judge.Expected = {}
    for (customer, order), item in judge.orders(work.source, work.database).items():
        for product in item.keys() - {"customerid", "orderid"}:
            items.setdefault((product, order), {"productid": product, "orderid": order})[customer] = item[product]
    return items


def assert_equal(work: Work) -> None:
    if work.mapping == GROUP:
        work.assert_equal()
    elif work.mapping == RECORD:
        work.assert_equal(judge.lines, ("customer_orderid", "productid"))
    else:
        assert judge.items(work.endpoint, work.target, "productid", "orderid") == by_product(work)


def exported(work: Work, mapping: str) -> Work:
    """Six chunks of two rows in files, and changes in the log, among them of what the chunks have."""
    work.mapping, work.source_settings = mapping, "chunk_rows = 2\nconnections = 1"
    work.write_project()
    lines = [f"('c', 'o{order}', 'p{product}', {order}{product})" for order in range(1, 7) for product in (1, 2)]
    work.source.execute(CREATE, f"INSERT INTO purchase VALUES {', '.join(lines)}", database=work.database)
    work.begin()
    work.call("snapshot")
    work.source.execute(*CHANGES[:3], database=work.database)
    work.call("capture", "--until-caught-up")
    work.source.execute(*CHANGES[3:], database=work.database)
    return work


def half_loaded(work: Work, monkeypatch: pytest.MonkeyPatch, parts: int) -> None:
    """As after a crash when ``parts`` parts had been loaded."""
    load_part, left = Loader._load_part, [parts]

    def fail_later(loader: Loader, *arguments: Any) -> None:
        if not left[0]:
            raise StateError("a crash")
        left[0] -= 1
        load_part(loader, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Loader, "_load_part", fail_later)
        work.call("load", code=3)


def finish(work: Work) -> None:
    """Load and apply, and compare with the source by hand and by whimbrel."""
    work.call("load")
    progress = table(work)
    assert progress.rows_loaded == progress.rows_exported
    work.drain()
    assert_equal(work)
    work.verify()


def table(work: Work) -> TableProgress:
    return checkpoint.load(work.state / "checkpoint.json").tables[f"{work.database}.purchase"]


def folder(work: Work) -> Path:
    [found] = (work.state / "export").iterdir()
    return found


def file(work: Work, number: int) -> Path:
    return folder(work) / f"chunk-{number:08d}.jsonl.zst"


def gone(work: Work) -> None:
    file(work, 2).unlink()
    file(work, 5).unlink()


def the_last_is_gone(work: Work) -> None:
    """By which the others keep their numbers: 0.1.0 loaded the rest, and said Done."""
    file(work, 6).unlink()
    file(work, 7).unlink(missing_ok=True)


def all_are_gone(work: Work) -> None:
    for path in folder(work).glob("chunk-*"):
        path.unlink()


def exchanged(work: Work) -> None:
    file(work, 2).rename(folder(work) / "aside")
    file(work, 5).rename(file(work, 2))
    (folder(work) / "aside").rename(file(work, 5))


def doubled(work: Work) -> None:
    shutil.copy(file(work, 3), file(work, 4))
    shutil.copy(file(work, 1), file(work, 12))


def cut_short(work: Work) -> None:
    file(work, 5).write_bytes(file(work, 5).read_bytes()[:-20])


def empty(work: Work) -> None:
    file(work, 1).write_bytes(b"")
    file(work, 6).write_bytes(b"")


def of_another_export(work: Work) -> None:
    """The same chunk of the same table with the same bounds, read at another time."""
    export = read_chunk(file(work, 4))
    writer = write_chunk(file(work, 4), export.table, export.chunk, "an older one")
    writer.write([(*row[:-1], 999) for rows in export for row in rows])
    writer.close()


def with_other_rows(work: Work) -> None:
    """Whole, but without a row that the plan says that it has."""
    export = read_chunk(file(work, 5))
    writer = write_chunk(file(work, 5), export.table, export.chunk, export.export)
    writer.write([row for rows in export for row in rows][:1])
    writer.close()


def of_another_key(work: Work) -> None:
    export = read_chunk(file(work, 3))
    writer = write_chunk(file(work, 3), export.table, export.chunk._replace(key=("customerid",)), export.export)
    writer.close()


def the_plan_lost_its_end(work: Work) -> None:
    path = folder(work) / "plan.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:4]))


def the_folder_is_gone(work: Work) -> None:
    shutil.rmtree(folder(work))


DAMAGES = [
    gone,
    the_last_is_gone,
    all_are_gone,
    exchanged,
    doubled,
    cut_short,
    empty,
    of_another_export,
    with_other_rows,
    of_another_key,
    the_plan_lost_its_end,
    the_folder_is_gone,
]


FAST = {
    GROUP: {gone, the_last_is_gone, exchanged, of_another_export, with_other_rows, the_plan_lost_its_end},
    UNALIGNED: {gone, the_folder_is_gone},
    RECORD: set[object](),
}


@pytest.mark.parametrize(
    ("mapping", "parts", "damage"),
    [
        pytest.param(
            mapping, parts, damage, marks=() if damage in fast else pytest.mark.slow, id=f"{name}-{damage.__name__}"
        )
        for (mapping, fast), parts, name in zip(FAST.items(), (3, 2, 0), ("group", "regrouped", "record"), strict=True)
        for damage in DAMAGES
    ],
)
def test_what_does_not_fit_the_plan_is_read_again(
    work: Work, monkeypatch: pytest.MonkeyPatch, mapping: str, parts: int, damage: Callable[[Work], None]
) -> None:
    monkeypatch.setattr("whimbrel.spill.PARTITION_ROWS", 3)
    exported(work, mapping)
    half_loaded(work, monkeypatch, parts)
    assert len(table(work).loaded) == parts
    damage(work)
    finish(work)
    assert work.letters() == []


def test_a_plan_of_another_export_is_refused(work: Work) -> None:
    exported(work, GROUP)
    path = folder(work) / "plan.jsonl"
    other = path.read_text().replace(table(work).export, "0" * 16)
    path.write_bytes(resealed(other))
    said = work.call("load", code=3).output
    assert f"is of the export '{'0' * 16}', the checkpoint is of '{table(work).export}'" in said
    assert f"remove {folder(work)}" in said
    shutil.rmtree(folder(work))  # as the hint says
    finish(work)


def resealed(text: str) -> bytes:
    bodies = [line.rpartition(',"crc":')[0].encode() for line in text.splitlines()]
    return b"".join(body + b',"crc":"%08x"}\n' % crc32(body) for body in bodies)


def test_a_damaged_plan_is_refused_and_its_hint_is_right(work: Work) -> None:
    exported(work, GROUP)
    path = folder(work) / "plan.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"o2"', b'"o9"', 1))
    said = work.call("load", code=3).output
    assert f"{path}: is damaged: a line does not match its checksum" in said
    assert f"Remove the folder {folder(work)}" in said
    shutil.rmtree(folder(work))
    finish(work)


def test_a_chunk_that_is_damaged_again_ends_the_load(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a disk that does not give back what was written, the load must not go round for ever."""
    exported(work, GROUP)
    monkeypatch.setattr("whimbrel.migration.load.fitting", lambda plan, chunk: None)
    said = work.call("load", code=3).output
    assert f"{file(work, 1)}: is damaged again, just after it was written\nhint: Check the disk" in said


def test_parts_with_other_rows_than_were_exported_end_the_load(work: Work) -> None:
    exported(work, GROUP)
    path = work.state / "checkpoint.json"
    now = checkpoint.load(path)
    checkpoint.save(path, now.with_loaded(f"{work.database}.purchase", [1], rows=1))
    said = work.call("load", code=3).output
    assert "12 rows were exported, but 11 were loaded" in said
    assert checkpoint.load(path).phase == "load"


def test_a_column_came_before_a_chunk_is_read_again(work: Work) -> None:
    """All of the export is by the columns of its plan, for as long as the table has them."""
    work.mapping = GROUP + 'new_columns = "ignore"\n'
    exported(work, work.mapping)
    work.source.execute("ALTER TABLE purchase ADD note INT NOT NULL DEFAULT 7", database=work.database)
    file(work, 2).unlink()
    work.call("load")
    work.drain()
    work.assert_equal()


def test_a_column_went_before_a_chunk_is_read_again(work: Work) -> None:
    """Then no chunk can be read as the others were: all are read again, and the load starts over."""
    work.mapping = RECORD.replace('"orderid"]', '"orderid", "note"]')
    work.source_settings = "chunk_rows = 2\nconnections = 1"
    work.write_project()
    work.source.execute(
        CREATE.replace("quantity", "note INT, quantity"),
        *(f"INSERT INTO purchase VALUES ('c', 'o{n}', 'p1', {n}, {n})" for n in range(1, 6)),
        database=work.database,
    )
    work.begin()
    work.call("snapshot")
    before = table(work).export
    file(work, 2).unlink()
    work.source.execute("ALTER TABLE purchase DROP note", *CHANGES, database=work.database)
    work.call("load")
    assert table(work).export != before
    work.drain()
    work.assert_equal(judge.lines, ("customer_orderid", "productid"))


# -- killed between two steps ------------------------------------------------------------------------------------------

STEPS = ["Plan.begin", "Plan.record", "Plan.forget", "CheckpointStore.save"]
KILLED = """
import os, sys
from whimbrel.cli.main import main
from whimbrel.migration.state import CheckpointStore
from whimbrel.mysql.plan import Plan
name, when, number = sys.argv[1], sys.argv[2], int(sys.argv[3])
kind, step = {"Plan": Plan, "CheckpointStore": CheckpointStore}[name.partition(".")[0]], name.partition(".")[2]
real, calls = getattr(kind, step), 0
def killed(*arguments):
    global calls
    calls += 1
    if calls == number and when == "before":
        os.kill(os.getpid(), 9)
    real(*arguments)
    if calls == number and when == "after":
        os.kill(os.getpid(), 9)
setattr(kind, step, killed)
main(sys.argv[4:])
"""


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("mapping", [GROUP, UNALIGNED], ids=["group", "regrouped"])
def test_killed_at_any_step_of_reading_again(
    work: Work, monkeypatch: pytest.MonkeyPatch, mapping: str, step: str, when: str
) -> None:
    """A load finds chunks gone and others'; it is killed at its first, second … such step until there is no other."""
    monkeypatch.setattr("whimbrel.spill.PARTITION_ROWS", 3)
    exported(work, mapping)
    half_loaded(work, monkeypatch, 2)
    exchanged(work)
    file(work, 4).unlink()
    if step == "Plan.begin":
        shutil.rmtree(folder(work))
    for number in (1, 2, 3):
        subprocess.run(
            [sys.executable, "-c", KILLED, step, when, str(number), "load"],
            cwd=work.folder,
            env=os.environ | {"WHIMBREL_SOURCE_PASSWORD": work.source.password},
            timeout=60,
            check=False,
        )
    finish(work)
