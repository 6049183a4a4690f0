"""Retry: retry dead letters.

Never the row image of the letter, which newer changes may have overtaken: the row is read from the source as it is
now, with all rows of its item, and the whole item is put. The order that makes this safe:

1. Nothing is applied meanwhile: the run lock keeps other processes out, and in this one it is the applier that calls.
2. The source shows everything that was applied: a transaction is in the binlog before readers see it, and may have
   been applied by then. ``mysql.visible`` waits until such ones are through. Else an older row could overwrite a change
   that is not applied a second time.
3. The changes since the rows were read are applied after the item is written, and end in the same state: the last
   Change of each row decides.
4. A letter goes when its item is acknowledged, in one step with the letters of what still cannot be mapped.

An operation that was refused may have been the one to take entries away. When no row is left of its item by now, no
Put says so: the item is deleted.
"""

from __future__ import annotations

import shutil
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from typing import NamedTuple

import orjson

from whimbrel.dynamodb.read import get_items
from whimbrel.item import key_id
from whimbrel.mapping.design import TableMapping
from whimbrel.migration.dead import Letter, Replacement, exact_values
from whimbrel.migration.lookup import read_whole_table, rows_within
from whimbrel.migration.prepare import not_altered
from whimbrel.migration.run import Run
from whimbrel.mysql.connect import Mysql, connect
from whimbrel.mysql.schema import average_row_bytes
from whimbrel.mysql.snapshot import rows_where_equal
from whimbrel.mysql.visible import until_visible
from whimbrel.records import Fault, Item, ItemOperation, Provenance, Put, Row, Value

AT_ONCE = 50  # letters whose items are in memory together: an item has 400 KB at most, and its rows may have more
AT_ONCE_UNLOCATED = 50_000  # where each look reads the whole table
LETTER_BYTES = 16 << 20  # of letters that wait for others of their table
BYTES_AT_ONCE = 32 << 20  # of rows, by the server's estimate


class Outcome(NamedTuple):
    """``written`` items went to the target; ``left`` letters are what became of the others."""

    written: int
    left: int


def retry(run: Run, phase: str = "retry", *, only: str = "") -> Outcome:
    """Write the items of the dead letters, or of those of the phase ``only``, as their rows are now. What still cannot
    be mapped becomes a letter of ``phase``.

    Raises Stopped, and SchemaDrift if a table was altered since it was prepared: then all letters stay.
    """
    mappings = run.prepared.mappings
    written = 0

    def is_ours(letter: Letter) -> bool:
        return letter["phase"] == (only or letter["phase"]) and letter["table"] in mappings

    with closing(connect(run.prepared.project.source)) as connection, Replacement(run.dead) as fresh:
        everything_applied_is_visible(run, connection)
        rows = {source: average_row_bytes(connection, mapping.table) for source, mapping in mappings.items()}
        at_once = {source: letters_at_once(mapping, rows[source]) for source, mapping in mappings.items()}
        for source, some in together(filter(is_ours, run.dead.letters()), at_once):
            more, faults = _retry(run, connection, mappings[source], some)
            written += more
            fresh.add(faults, phase)
            _made_dirty(run, some, faults)
        left = len(fresh)
        if run.dirty:
            run.dirty.sync()  # durable before the letters go
        fresh.publish(is_ours)
    return Outcome(written, left)


def together(
    letters: Iterable[Letter], at_once: Mapping[str, int], most: int = LETTER_BYTES
) -> Iterator[tuple[str, list[Letter]]]:
    """Letters of one table at a time, at most ``at_once`` of it; those that wait for more have some ``most`` bytes."""
    waiting: dict[str, list[Letter]] = defaultdict(list)
    sizes: Counter[str] = Counter()
    for letter in letters:
        source = letter["table"]
        waiting[source].append(letter)
        sizes[source] += len(orjson.dumps(letter))
        if len(waiting[source]) < at_once[source]:
            if sizes.total() < most:
                continue
            source = sizes.most_common(1)[0][0]
        del sizes[source]
        yield source, waiting.pop(source)
    yield from waiting.items()


def _retry(run: Run, connection: Mysql, mapping: TableMapping, letters: list[Letter]) -> tuple[int, list[Fault]]:
    """How many items were written, and what could not be mapped or was refused."""
    rows = _rows_now(run, connection, mapping, letters)
    connection.commit()
    provenance: dict[bytes, Provenance] = {}
    if mapping.change_metadata:
        puts, faults = _puts_of_change(run, mapping, letters, rows, provenance)
    else:
        puts, faults = mapping.put_items(rows)
    rejected = run.writer.write(operations(run, mapping, puts, _gone(mapping, letters, rows)))
    faults = faults + [
        each.fault(mapping.source)._replace(provenance=provenance.get(key_id(each.operation.key))) for each in rejected
    ]
    return len(puts) - len(rejected) - run.count_held(), faults


def letters_at_once(mapping: TableMapping, row_bytes: int) -> int:
    """Of how many letters the rows fit in memory, where a row takes ``row_bytes`` (0: nobody knows)."""
    bearable = BYTES_AT_ONCE // max(1, row_bytes)
    if mapping.invertible:
        return max(1, min(AT_ONCE, bearable))
    return max(AT_ONCE, min(AT_ONCE_UNLOCATED, bearable))


def _made_dirty(run: Run, letters: list[Letter], faults: list[Fault]) -> None:
    """The items of letters that go, and of those that come; what was written is dirty already."""
    if run.dirty:
        for letter in letters:
            if letter["item_key"]:
                run.dirty.add(run.prepared.mappings[letter["table"]].target, [letter["item_key"]])
        for fault in faults:
            if fault.item_key:
                run.dirty.add(run.prepared.mappings[fault.table].target, [fault.item_key])


def everything_applied_is_visible(run: Run, connection: Mysql) -> None:
    """On return, what is read from the source has every change that is applied. Raises SchemaDrift as above."""
    tables = list(run.prepared.tables.values())
    applied = run.progress.applied_position or run.checkpoints.now.applied_position
    if applied:
        until_visible(run.prepared.project.source, tables, applied, run.stop.wait)
    not_altered(connection, tables)


def _rows_now(run: Run, connection: Mysql, mapping: TableMapping, letters: list[Letter]) -> list[Row]:
    """All rows, as they are now, of every item that the letters speak of."""
    table = mapping.table
    keys = [exact_values(letter["source_key"]) for letter in letters if letter["source_key"]]
    by_key = [tuple(key[name] for name in table.primary_key) for key in keys]
    rows = rows_where_equal(connection, table, table.primary_key, by_key)
    for letter in letters:
        for image in (letter["before"], letter["after"]):
            if image:
                values = exact_values(image)  # what is looked up is not in it where the letter is of the row alone
                rows.append(mapping.unjoined(tuple(values.get(name) for name in table.stored.names)))
    items = [letter["item_key"] for letter in letters if _of_an_item(letter)]
    if not mapping.invertible:
        return _rows_read_whole(run, mapping, [*items, *(key for row in rows if (key := mapping.item_key(row)))])
    places: set[tuple[Value, ...]] = {_place(mapping, row) for row in rows}
    for item in items:
        places.update(mapping.source_keys(item))
    whole = [place for place in places if mapping.may_be_looked_up(place)]
    return rows_where_equal(connection, table, mapping.lookup_columns, whole)


def _rows_read_whole(run: Run, mapping: TableMapping, keys: list[Item]) -> list[Row]:
    found: list[Row] = []
    wanted = {key_id(key) for key in keys}
    folder = run.folder.root / "retry"
    shutil.rmtree(folder, ignore_errors=True)
    read_whole_table(
        run.prepared.project.source,
        mapping,
        folder,
        lambda rows: found.extend(rows_within(mapping, rows, wanted)),
        lambda rows: None,
        run.stop,
    )
    return found


def _gone(mapping: TableMapping, letters: list[Letter], rows: list[Row]) -> list[Item]:
    """The keys of refused operations' items that no row belongs to any more."""
    alive = {key_id(key) for row in rows if (key := mapping.item_key(row))}
    refused = {key_id(letter["item_key"]): letter["item_key"] for letter in letters if _of_an_item(letter)}
    return [key for text, key in refused.items() if text not in alive]


def operations(run: Run, mapping: TableMapping, puts: list[Put], gone: list[Item]) -> list[ItemOperation]:
    """Of an item that other tables have a part in, only what this table's rows wrote may be put or taken away."""
    found: dict[bytes, Item] = {}
    if mapping.shared or mapping.change_metadata.mark:
        keys = [*(put.key for put in puts), *gone]
        found = get_items(run.wire, mapping.target, keys, stop=run.stop)
    written = [mapping.replacing(put, found.get(key_id(put.key), {})) for put in puts]
    removed = (mapping.removing(key, found.get(key_id(key), {})) for key in gone)
    return [*written, *(operation for operation in removed if operation is not None)]


def _puts_of_change(
    run: Run, mapping: TableMapping, letters: list[Letter], rows: list[Row], known: dict[bytes, Provenance]
) -> tuple[list[Put], list[Fault]]:
    """Each row with the change metadata of its last letter, or else of the snapshot; ``known`` is told which.

    An item that is right already is left alone: a later change than that of the letter wrote it.
    """
    by_row, by_item = _last_letters(mapping, letters)
    keys = [key for row in rows if (key := mapping.item_key(row))]
    found = get_items(run.wire, mapping.target, keys, stop=run.stop)
    puts, faults = list[Put](), list[Fault]()
    for row in rows:
        key = mapping.item_key(row)
        letter = by_row.get(_primary_key(mapping, row)) or (by_item.get(key_id(key)) if key else None)
        provenance, before = _provenance(run, mapping, letter)
        made, refused = mapping.put_items([row], provenance, before)
        known |= {key_id(put.key): provenance for put in made}
        puts += [put for put in made if not mapping.is_written(put, found.get(key_id(put.key)))]
        faults += [fault._replace(provenance=provenance) for fault in refused]
    return puts, faults


def _last_letters(
    mapping: TableMapping, letters: list[Letter]
) -> tuple[dict[tuple[Value, ...], Letter], dict[bytes, Letter]]:
    by_row: dict[tuple[Value, ...], Letter] = {}
    by_item: dict[bytes, Letter] = {}
    for letter in sorted(letters, key=lambda letter: letter.get("came", {}).get("sequence", "")):
        if letter["source_key"]:
            values = exact_values(letter["source_key"])
            by_row[tuple(values[name] for name in mapping.table.primary_key)] = letter
        elif letter["item_key"]:
            by_item[key_id(letter["item_key"])] = letter
    return by_row, by_item


def _provenance(run: Run, mapping: TableMapping, letter: Letter | None) -> tuple[Provenance, Row | None]:
    if letter is None or "came" not in letter:
        return run.of_snapshot, None
    image = letter["before"] if letter["after"] else None
    provenance = Provenance(**letter["came"])
    return provenance, tuple(exact_values(image).get(name) for name in mapping.table.names) if image else None


def _primary_key(mapping: TableMapping, row: Row) -> tuple[Value, ...]:
    return tuple(row[mapping.table.index(name)] for name in mapping.table.primary_key)


def _of_an_item(letter: Letter) -> bool:
    """Whether the letter speaks of a whole item, and of no row in particular."""
    return bool(letter["item_key"]) and not letter["source_key"]


def _place(mapping: TableMapping, row: Row) -> tuple[Value, ...]:
    return tuple(row[mapping.table.index(name)] for name in mapping.lookup_columns)
