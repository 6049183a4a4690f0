"""``[[table]]``: how one source table becomes items. The vocabulary only; what it means is in ``whimbrel.mapping``."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from whimbrel.project.section import Section
from whimbrel.project.typed import constant_fault, typed_tree_fault

SHAPES = ("record", "document", "group")
ENTRIES = ("attribute", "map", "string-set", "number-set", "list")
TYPES = ("S", "N", "B", "BOOL", "SS", "JSON", "EPOCH", "EPOCH_MS", "SECONDS")
MASKS = ("digits", "hash", "null")
CASES = ("", "lower", "upper")
NEW_COLUMNS = ("stop", "ignore", "include")
ORPHANS = ("null", "omit", "dead")
LOAD_ORDERS = ("key", "spread")
OVERSIZE = ("dead", "stop")
_MOST_BUCKETS = 65_536

# An attribute's template as text, or as DynamoDB's typed tree with templates at its leaves:
# {"S": "${a}"}, {"N": "${n}"}, {"BOOL": "${flag}"}, {"M": {"x": {"S": "${a}"}}}, {"L": [{"S": "${a}"}]}. What one JSON
# column has, an object or an array, is a leaf too: {"M": "${doc}"}, {"L": "${doc}"}.
Tree = str | dict[str, Any]
Code = bool | int | str
_CENTURY = 100 * 366 * 86_400  # seconds


@dataclass(frozen=True, slots=True)
class KeyRule:
    """One key attribute of the target: its name, its type (S, N or B), and the template that fills it."""

    name: str
    value: str
    type: str = "S"


@dataclass(frozen=True, slots=True)
class IndexKey:
    """An attribute that a secondary index is keyed by: S, N or B."""

    name: str
    type: str = "S"


@dataclass(frozen=True, slots=True)
class IndexRule:
    """A secondary index of the target table. A ``local`` one has the table's own partition key and needs a sort key.

    ``projection`` is "all", "keys", or the attributes beside the keys.
    """

    name: str
    partition_key: IndexKey
    sort_key: IndexKey | None = None
    local: bool = False
    projection: str | tuple[str, ...] = "all"


@dataclass(frozen=True, slots=True)
class LookupRule:
    """One more column of a table, ``name``: the ``column`` of the row of ``parent`` ("schema.name") whose ``key`` holds
    what the table's columns ``by`` hold. An empty ``key`` is the parent's primary key.

    ``orphans``: a row without such a row there has NULL ("null"), is left out ("omit"), or is a dead letter ("dead").
    """

    name: str
    parent: str
    column: str
    by: tuple[str, ...]
    key: tuple[str, ...] = ()
    orphans: str = "null"


@dataclass(frozen=True, slots=True)
class ConditionRule:
    """A condition expression of DynamoDB that each change is written under, and each item of the load if ``load``.

    ``names`` and ``values`` are those of its placeholders: {"#o": "owner"}, {":v": {"S": "us"}}.
    """

    expression: str
    names: dict[str, str] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    load: bool = True


@dataclass(frozen=True, slots=True)
class TtlRule:
    """The attribute by which DynamoDB deletes items in time: that of ``column``, or its whole seconds since 1970, and
    so many seconds more.
    """

    attribute: str
    column: str
    offset: int = 0


@dataclass(frozen=True, slots=True)
class TableRule:
    """How one source table becomes items. ``shape`` is ``record``, ``document`` or ``group``.

    Columns: ``columns`` are (name, SQLite expression) computed from the source's columns; one of a source column's
    name takes its place. ``mask`` is short for the same: "digits", "hash" or "null". ``filter``, an expression, says
    which rows exist at all. ``exclude``, ``rename``, ``types`` and ``attribute_prefix``, ``_suffix``, ``_case`` decide
    what a column is called and made into; a column of ``rename`` is named by it alone.
    ``codes`` has for a column what stands for each of its values.
    ``attributes`` adds (name, template or typed tree); in a group only from columns that determine the item's key.
    ``nulls``: ``null`` writes {"NULL": true}, ``omit`` leaves the attribute out; in a group of its entries' maps.
    ``document`` names the map that holds the columns in shape document.

    ``before_image`` are more columns, by their names: each has the value that another one had before the row's last
    update, NULL if it had none.

    Group: ``entry_name`` is the template that names a row's entry; ``entry_value`` is a column, or "" for a map of all
    columns that are not excluded. ``entry_as`` says what the entries are in: attributes of the item, or the map, set
    or list ``entry_into``; a set has the column ``entry_value`` for its members and no names, a list has the entries
    in the order of ``entry_order`` (columns, each perhaps with " desc") and no names. With ``entry_rows``, a map beside
    the set or list, entries have names there, and values; the set or list is what all of them give.

    ``new_columns`` says how a column is handled that is added to the source while the migration runs.

    ``assert_unique``: the user's word that no two rows ever come to one place, where the key of the source that would
    prove it is not in the target's. Without it such a rule is refused.

    ``condition`` protects items that somebody else wrote to, see ``mapping.conditions``.

    ``lookups`` are columns of other tables, see ``mapping.lookups``.

    ``item``: "own" if no other source table writes these items; "shared" if the item is made of rows of several.

    ``ttl`` adds the attribute of the table's time to live, which ``finish`` switches on.

    ``oversize``: an item over 400 KB is a dead letter ("dead"), or ends the run ("stop"). A split group has the part in
    its sort key, and a spread partition key the bucket.

    ``load_order``: items are loaded as the source's key has them ("key"), or in no order at all ("spread").

    ``number``: of a source that is in several rules, which of these this one is, from 1 on; else 0.
    """

    source: str
    target: str
    shape: str
    partition_key: KeyRule
    sort_key: KeyRule | None = None
    entry_name: str = ""
    entry_value: str = ""
    exclude: tuple[str, ...] = ()
    rename: dict[str, str] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    codes: dict[str, dict[str, Code]] = field(default_factory=dict)
    attributes: dict[str, Tree] = field(default_factory=dict)
    nulls: str = "null"
    document: str = "_doc"
    entry_as: str = "attribute"
    entry_into: str = ""
    entry_order: tuple[str, ...] = ()
    entry_rows: str = ""
    columns: dict[str, str] = field(default_factory=dict)
    filter: str = ""
    mask: dict[str, str] = field(default_factory=dict)
    before_image: dict[str, str] = field(default_factory=dict)
    attribute_prefix: str = ""
    attribute_suffix: str = ""
    attribute_case: str = ""
    item: str = "own"
    indexes: tuple[IndexRule, ...] = ()
    new_columns: str = "stop"
    assert_unique: bool = False
    condition: ConditionRule | None = None
    ttl: TtlRule | None = None
    lookups: tuple[LookupRule, ...] = ()
    oversize: str = "dead"
    load_order: str = "key"
    number: int = 0

    @property
    def name(self) -> str:
        """What tells the rule from the project's others, and names what it makes: in messages, letters and reports."""
        return f"{self.source}#{self.number}" if self.number else self.source


def read_table_rule(section: Section, database: str) -> TableRule:
    """One ``[[table]]``; what is wrong with it goes to the section's faults."""
    source = section.required("source")
    if source and "." not in source:
        source = f"{database}.{source}"
    shape = section.one_of("shape", SHAPES)
    sort_key = _read_key(section.section("sort_key")) if section.has("sort_key") else None
    oversize, sort_key = _read_oversize(section, shape, sort_key)
    partition_key = _read_key(section.section("partition_key"))
    rule = TableRule(
        source=source,
        target=section.required("target"),
        shape=shape,
        partition_key=_read_spread(section, partition_key) if section.has("spread") else partition_key,
        sort_key=sort_key,
        exclude=tuple(section.strings("exclude")),
        rename=section.string_map("rename"),
        types=section.string_map("types", allowed=TYPES),
        codes=_read_codes(section),
        attributes=_read_attributes(section),
        nulls=section.one_of("nulls", ("null", "omit")),
        document=section.string("document", "_doc") if shape == "document" else "_doc",
        columns=section.string_map("columns"),
        filter=section.string("filter", ""),
        mask=section.string_map("mask", allowed=MASKS),
        before_image=section.string_map("before_image"),
        attribute_prefix=section.string("attribute_prefix", ""),
        attribute_suffix=section.string("attribute_suffix", ""),
        attribute_case=section.one_of("attribute_case", CASES),
        item=section.one_of("item", ("own", "shared")),
        indexes=tuple(_read_index(index) for index in section.optional_sections("index")),
        new_columns=section.one_of("new_columns", NEW_COLUMNS),
        condition=_read_condition(section.section("condition")) if section.has("condition") else None,
        ttl=_read_ttl(section.section("ttl")) if section.has("ttl") else None,
        assert_unique=section.truth("assert_unique"),
        lookups=tuple(_read_lookup(each, database) for each in _sections(section, "lookup")),
        oversize=oversize,
        load_order=section.one_of("load_order", LOAD_ORDERS),
        **(_read_entry(section.section("entry")) if shape == "group" else {}),
    )
    section.finish()
    return rule


def _read_key(section: Section) -> KeyRule:
    name = section.required("name")
    rule = KeyRule(
        name=name, value=section.string("value", f"${{{name}}}"), type=section.one_of("type", ("S", "N", "B"))
    )
    section.finish()
    return rule


def _read_oversize(section: Section, shape: str, sort_key: KeyRule | None) -> tuple[str, KeyRule | None]:
    """``oversize = { split = 8, by = "line_no" }`` is short for a bucket of that column at the end of the sort key."""
    if not section.is_table("oversize"):
        return section.one_of("oversize", OVERSIZE), sort_key
    parts, column = _read_buckets(section, "oversize", "split")
    if shape != "group":
        section.fault("oversize", 'only a group can be split: shape = "group"')
    if sort_key is None or sort_key.type != "S":
        section.fault(
            "oversize", "needs a sort_key of type S, which gets the number of the part: LINES is LINES#3 then"
        )
        return OVERSIZE[0], sort_key
    return OVERSIZE[0], _with_bucket(sort_key, column, parts)


def _read_spread(section: Section, key: KeyRule) -> KeyRule:
    """``spread = { buckets = 16, by = "id" }`` is short for a bucket of that column at the end of the partition key."""
    buckets, column = _read_buckets(section, "spread", "buckets")
    if key.type != "S":
        section.fault("spread", "needs a partition_key of type S, which gets the bucket's number: home is home#3 then")
    return _with_bucket(key, column, buckets)


def _read_buckets(section: Section, key: str, how_many: str) -> tuple[int, str]:
    """Of ``key = { how_many = 8, by = "column" }``."""
    asked = section.section(key)
    number, column = asked.integer(how_many, 0, least=2), asked.required("by")
    asked.finish()
    if number > _MOST_BUCKETS:
        section.fault(f"{key}.{how_many}", f"must be {_MOST_BUCKETS:,} or less, not {number}")
    return number, column


def _with_bucket(key: KeyRule, column: str, number: int) -> KeyRule:
    return replace(key, value=f"{key.value}#${{{column}:bucket{number}}}")


def _sections(section: Section, key: str) -> list[Section]:
    """``key = { … }`` for one, ``[[table.key]]`` (or a list) for several."""
    if section.has(key) and not section.is_list(key):
        return [section.section(key)]
    return section.optional_sections(key)


def _read_lookup(section: Section, database: str) -> LookupRule:
    """``name`` is ``customer.name``, or ``shop.customer.name`` for another schema's."""
    written = section.required("name")
    parent, _, column = written.rpartition(".")
    if written and not (parent and column):
        section.fault("name", f'must be a table and its column, as "customer.name", not {written!r}')
    by = tuple(section.strings("by")) if section.is_list("by") else (section.required("by"),)
    if not by:
        section.fault("by", "is empty: name the columns that tell the row of the other table")
    rule = LookupRule(
        name=section.string("as", f"{parent.rpartition('.')[2]}_{column}"),
        parent=parent if "." in parent else f"{database}.{parent}",
        column=column,
        by=by,
        key=tuple(section.strings("key")),
        orphans=section.one_of("orphans", ORPHANS),
    )
    section.finish()
    return rule


def _read_entry(section: Section) -> dict[str, Any]:
    """A set and a list have no names, where no map of ``rows`` stands beside them: a member is its own, an element is
    found by the columns that order it.
    """
    kind = section.one_of("as", ENTRIES)
    rows = section.string("rows", "") if kind == "list" or kind.endswith("-set") else ""
    found: dict[str, Any] = {
        "entry_as": kind,
        "entry_rows": rows,
        "entry_name": section.required("name") if rows or kind in ("attribute", "map") else "",
        "entry_value": section.required("value") if rows or kind.endswith("-set") else section.string("value", ""),
        "entry_into": "" if kind == "attribute" else section.required("into"),
        "entry_order": tuple(section.strings("order")) if kind == "list" else (),
    }
    if kind == "list" and not found["entry_order"]:
        section.fault("order", "is missing: name the columns that the list is ordered by")
    section.finish()
    return found


def _read_index(section: Section) -> IndexRule:
    local = section.truth("local")
    rule = IndexRule(
        name=section.required("name"),
        partition_key=_read_index_key(section.section("partition_key")),
        sort_key=_read_index_key(section.section("sort_key")) if section.has("sort_key") else None,
        local=local,
        projection=_read_projection(section),
    )
    if local and rule.sort_key is None:
        section.fault("sort_key", "is missing: a local index is one more sort key for the table's partition key")
    section.finish()
    return rule


def _read_index_key(section: Section) -> IndexKey:
    key = IndexKey(section.required("name"), section.one_of("type", ("S", "N", "B")))
    section.finish()
    return key


def _read_ttl(section: Section) -> TtlRule:
    rule = TtlRule(
        section.required("attribute"), section.required("column"), section.integer("offset", 0, least=-_CENTURY)
    )
    section.finish()
    return rule


def _read_condition(section: Section) -> ConditionRule:
    rule = ConditionRule(
        expression=section.required("expression"),
        names=section.string_map("names"),
        values=section.any_map("values"),
        load=section.flag("load", default=True),
    )
    for name, value in rule.values.items():
        if fault := constant_fault(value):
            section.fault(f"values.{name}", fault)
    section.finish()
    return rule


def _read_codes(section: Section) -> dict[str, dict[str, Code]]:
    """For each column, what stands for each of its values: all booleans, all integers or all texts."""
    found: dict[str, dict[str, Code]] = {}
    for name, codes in section.any_map("codes").items():
        kinds = {type(code) for code in codes.values()} if isinstance(codes, dict) else set()
        if len(kinds) == 1 and kinds <= {bool, int, str}:
            found[name] = codes
        else:
            section.fault(f"codes.{name}", f"must be one table of true and false, integers or strings, not {codes!r}")
    return found


def _read_projection(section: Section) -> str | tuple[str, ...]:
    if section.is_list("projection"):
        return tuple(section.strings("projection"))
    return section.one_of("projection", ("all", "keys"))


def _read_attributes(section: Section) -> dict[str, Tree]:
    """Texts, or typed trees whose form is checked here; their templates are checked against the table later."""
    found: dict[str, Tree] = {}
    for name, value in section.any_map("attributes").items():
        fault = _tree_fault(value)
        if fault:
            section.fault(f"attributes.{name}", fault)
        else:
            found[name] = value
    return found


def _tree_fault(value: Any) -> str:
    if isinstance(value, str):
        return ""
    return typed_tree_fault(value)
