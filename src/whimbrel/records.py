"""The nouns that flow through whimbrel: frozen, without I/O. Everything else is a function over them.

Canonical values
----------------
A ``Value`` is what one column of one row holds. The snapshot and the binlog reader both produce exactly this form, so
the same row read by either is equal; ``Column.kind`` says how to read it:

=============================== ======= =====================================================================
``Column.kind``                 Python  form
=============================== ======= =====================================================================
``int`` ``year``                int     exact, signed or unsigned by the column
``bit``                         int     the bits read as an unsigned number
``decimal``                     str     as the server prints it: all digits, the column's scale (``"-12.50"``)
``float`` ``double``            float   a FLOAT of 0.1 is 0.1: the shortest that reads back as its 4 bytes
``date``                        str     ``YYYY-MM-DD``, zero and partial dates as they are
``datetime`` ``timestamp``      str     ``YYYY-MM-DD HH:MM:SS[.ffffff]``, the column's fractional digits; in UTC
``time``                        str     ``[-]HHH:MM:SS[.ffffff]`` (two or three hour digits, as the server prints it)
``text`` ``enum`` ``set``       str     text decoded to Unicode, trailing blanks as the server returns them
``json``                        str     JSON text as the server prints it
``uuid`` ``inet4`` ``inet6``    str     as the server prints it
``binary`` ``geometry``         bytes   exact, trailing zeros kept (BINARY(n) is always n bytes)
any, SQL NULL                   None
=============================== ======= =====================================================================
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

Value = None | int | float | str | bytes
Row = tuple[Value, ...]

# DynamoDB's own JSON form: {"S": "x"}, {"N": "12"}, {"B": "<base64>"}, {"NULL": True}, {"M": {...}}, {"L": [...]}, ...
AttributeValue = dict[str, Any]
Item = dict[str, AttributeValue]


class LookedUp(NamedTuple):
    """Where a column's values come from that are not the table's own: from ``column`` of the row of ``parent`` (schema
    and name) whose columns ``key``, which are unique there, hold exactly what ``by`` of ``child``, the table itself,
    hold. NULL where there is no such row.

    ``orphans`` is "" for such a column. One more column, which is carried nowhere, says whether there is a row, where a
    row without one is left out ("omit") or a dead letter ("dead").
    """

    parent: tuple[str, str]
    column: Column
    key: tuple[Column, ...]
    by: tuple[str, ...]
    child: tuple[str, str]
    orphans: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a source table, as far as values and mapping are concerned.

    ``length`` is bytes for binary kinds and characters for text; ``scale`` is the scale of a DECIMAL or the fractional
    digits of a temporal type; ``charset`` and ``collation`` are MySQL's names ("" when the column has none).
    """

    name: str
    kind: str
    nullable: bool = True
    unsigned: bool = False
    length: int = 0
    precision: int = 0
    scale: int = 0
    charset: str = ""
    collation: str = ""
    members: tuple[str, ...] = ()
    type_name: str = ""  # the source's own words, e.g. "int(10) unsigned", for people
    looked_up: LookedUp | None = None  # of a column that another table has


@dataclass(frozen=True, slots=True)
class Table:
    """A source table at one moment: the columns that its rows were written with, in order."""

    schema: str
    name: str
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...]  # the primary key, or the unique NOT NULL key that stands in for it
    names: tuple[str, ...] = field(init=False, compare=False, default=())

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(column.name for column in self.columns))

    @property
    def full_name(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def stored(self) -> Table:
        """The table without the columns that are looked up: as the source has it."""
        own = tuple(column for column in self.columns if column.looked_up is None)
        return self if len(own) == len(self.columns) else Table(self.schema, self.name, own, self.primary_key)

    def index(self, column: str) -> int:
        """Where ``column`` stands in a Row. Raises ValueError if the table has no such column."""
        return self.names.index(column)

    def column(self, name: str) -> Column:
        return self.columns[self.index(name)]


class Filled(NamedTuple):
    """What the server puts into a table's columns by itself.

    ``generated`` cannot be written. ``required`` are NOT NULL and have no default: an INSERT must name them.
    ``updated`` change by themselves when their row does (ON UPDATE).
    """

    generated: frozenset[str] = frozenset()
    required: frozenset[str] = frozenset()
    updated: frozenset[str] = frozenset()


class RowChange(NamedTuple):
    """What one item's change is to one row: put ``values`` there, or, if they are None, delete it.

    ``key`` has the values of the table's primary key. ``guard`` are the row's columns that make the item's key, as the
    old image had them: a row that is another item's by now is not deleted. ``kept`` are columns whose attribute did not
    change and does not say all of their value (a JSON document's text): an update leaves them as they are.
    """

    table: Table
    key: Row
    guard: tuple[tuple[str, Value], ...]
    columns: tuple[str, ...]
    values: Row | None
    kept: frozenset[str] = frozenset()


class Position(NamedTuple):
    """A point in the source's history: the end of an event in the binlog, and the GTID set executed up to there.

    ``gtid`` is MySQL's ``uuid:1-5,...`` or MariaDB's ``domain-server-sequence,...``, "" where the server has none.
    ``epoch`` counts the failovers before it: files and offsets of two servers have nothing to do with each other.
    Compare with ``at_or_after``: epochs first, then file names by their numeric suffix ("bin.999999" < "bin.1000000").
    """

    file: str
    offset: int
    gtid: str = ""
    epoch: int = 0

    @property
    def order(self) -> tuple[int, int, int]:
        return self.epoch, int(self.file.rpartition(".")[2]), self.offset

    def as_fields(self) -> dict[str, Any]:
        """For JSON; ``Position(**fields)`` is the inverse. Without an epoch before the first failover, as 0.1.0 wrote
        it.
        """
        fields = self._asdict()
        if not self.epoch:
            del fields["epoch"]
        return fields

    def at_or_after(self, other: Position) -> bool:
        return self.order >= other.order

    def __str__(self) -> str:
        return f"{self.file}:{self.offset}" + (f" ({self.gtid})" if self.gtid else "")


class Change(NamedTuple):
    """One row's insert (before is None), delete (after is None) or update, with full images."""

    table: Table
    before: Row | None
    after: Row | None
    position: Position


class Provenance(NamedTuple):
    """Change metadata of a row: of its last change in the log, or of the snapshot; all of it as text.

    ``operation`` is INSERT, UPDATE or DELETE. ``position`` is ``file:offset`` in the binlog, the end of the change's
    event. ``sequence``, 35 digits, is unique for each change and grows with the log. ``time`` is when the change was
    committed: ISO 8601 in UTC, with microseconds as far as the source has them. A row of the snapshot counts as
    inserted at the start of the migration.
    """

    operation: str
    position: str
    sequence: str
    time: str


class Commit(NamedTuple):
    """The end of a source transaction: the only place where a reader may resume."""

    position: Position
    timestamp: float  # the source's clock when it was committed, seconds since the epoch


class Idle(NamedTuple):
    """The source has nothing newer: a heartbeat. ``position`` is where the source's binlog ends."""

    position: Position


class Put(NamedTuple):
    """Write the whole item, replacing what is there."""

    table: str
    key: Item
    item: Item  # includes the key attributes


class PutText(NamedTuple):
    """As Put, by the JSON of the item as DynamoDB takes it, and of its key, names in order and without blanks."""

    table: str
    key_text: bytes
    text: bytes

    @property
    def key(self) -> Item:
        parsed: Item = orjson.loads(self.key_text)
        return parsed


class Delete(NamedTuple):
    """Delete the item by its key."""

    table: str
    key: Item


class Gathered(NamedTuple):
    """An attribute beside a map of entries that is made of all of them: the set (``kind`` SS, NS) of their values, each
    once however many entries have it, or the list (L) of what their maps have as ``value``, in ``order``.
    """

    name: str
    kind: str
    value: str = ""
    order: tuple[tuple[str, bool], ...] = ()  # (attribute of an entry, True if descending); then by the entries' names


class Inside(NamedTuple):
    """What an Update does within one attribute of the item, a map (``kind`` M), set (SS, NS) or list (L) of entries.

    ``set`` and ``remove`` speak of entries by name: in a set the name is the member (a number's plain text), in a list
    it is the ``lists.identity`` of the element's attributes of ``order``, by which the list is kept. An empty map, set
    or list is not kept. ``gathered`` is made of a map's entries anew, whenever some are set or removed.

    With a ``path``, the entries are one level deeper: in the map ``path`` of an entry of this map, or in the list if
    there is an ``order``; their names are ``nested.deep_name``. ``beside`` are the others' maps and lists in the
    entries that are set and removed here, which stay.
    """

    name: str
    kind: str
    set: dict[str, AttributeValue]
    remove: tuple[str, ...]
    order: tuple[tuple[str, bool], ...] = ()  # of a list: (attribute of an element, True if descending)
    gathered: Gathered | None = None
    path: str = ""
    beside: frozenset[str] = frozenset()


class Update(NamedTuple):
    """Set and remove attributes of one item, making it if need be; left with nothing but ``frame``, it is deleted.

    ``frame`` names the attributes that are not entries: the key attributes and those constant for the whole item.
    Where entries are ``inside`` an attribute, ``set`` has only attributes of the frame, if entries are set.
    """

    table: str
    key: Item
    set: dict[str, AttributeValue]
    remove: tuple[str, ...]
    frame: frozenset[str]
    inside: Inside | None = None


class Condition(NamedTuple):
    """What is asked of the item that is there, or of its absence, before it is written: DynamoDB's ConditionExpression,
    the names and the values of its placeholders.
    """

    expression: str
    names: dict[str, str]
    values: dict[str, AttributeValue]


class Guarded(NamedTuple):
    """A Put or Delete that is carried out only where ``condition`` holds."""

    table: str
    key: Item
    operation: Put | Delete
    condition: Condition


ItemOperation = Put | PutText | Delete | Update | Guarded


class Fault(NamedTuple):
    """A row or an operation that cannot become an item, and why: a dead letter in the making."""

    table: str  # "schema.name" of the source table; with the number of its rule where it is in several
    reason: str
    source_key: dict[str, Value]  # the row's primary key columns; empty when the whole item is at fault
    item_key: Item | None  # the item's key where it is known
    change: Change | None  # the change as it was read
    provenance: Provenance | None = None  # where the item would have said it
