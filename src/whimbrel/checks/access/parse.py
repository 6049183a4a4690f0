"""A statement, parsed by sqlglot, as what it binds and asks of the tables that are mapped."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from whimbrel.checks.access.statements import SeenStatement
from whimbrel.records import Table

logging.getLogger("sqlglot").setLevel(logging.ERROR)  # it warns of what it keeps as a Command, and we list that

RANGES: dict[type[exp.Expression], str] = {exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">="}
_TURNED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_NO_DATA = (
    *(exp.Set, exp.Transaction, exp.Commit, exp.Rollback, exp.Show, exp.Use, exp.Describe),
    *(exp.Create, exp.Drop, exp.Alter, exp.Analyze, exp.Kill, exp.Pragma),
)
_SESSION = re.compile(
    r"(?i)(SET|SHOW|BEGIN|START|COMMIT|ROLLBACK|SAVEPOINT|RELEASE|USE|EXPLAIN|DESC|FLUSH|ALTER|CREATE|DROP)\b"
)


class Unparsed(Exception):
    """``str()`` says why a statement was not understood. Ends in the report's list of these."""


@dataclass
class AskedOfTable:
    """What a statement asks of one table. Columns are named as the table names them.

    ``equal``: columns that are one value; ``among``: one of a list; ``ranges``: the operators on a column (``begins``
    is LIKE 'x%'); ``filters``: columns of all other conditions, ``other``: that there are such.
    """

    table: Table
    alias: str
    equal: set[str] = field(default_factory=set)
    among: set[str] = field(default_factory=set)
    ranges: dict[str, list[str]] = field(default_factory=dict)
    filters: list[str] = field(default_factory=list)
    other: bool = False
    joined: list[tuple[str, str, str]] = field(default_factory=list)  # own column, the other's alias, its column


@dataclass
class ParsedStatement:
    """``verb``: select, insert, replace, update or delete. ``limit``: 0 for none, -1 for one that is not known.

    ``why``: what no request of DynamoDB does, such as a join. ``order``: (alias, column, descending).
    """

    text: str
    verb: str
    tables: list[AskedOfTable]
    others: list[str] = field(default_factory=list)
    order: list[tuple[str, str, bool]] = field(default_factory=list)
    ordered_otherwise: bool = False
    limit: int = 0
    offset: bool = False
    aggregates: list[str] = field(default_factory=list)
    counts_only: bool = False
    grouped: list[str] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)  # those that are read, empty for all
    assigned: list[str] = field(default_factory=list)
    counted_up: list[str] = field(default_factory=list)  # assigned from their own value
    many: bool = False
    ignore: bool = False
    upsert: bool = False
    why: list[str] = field(default_factory=list)


def is_session(text: str) -> bool:
    """Statements that no data of an application goes through."""
    return bool(_SESSION.match(text))


def parse(said: SeenStatement, tables: Mapping[str, Table]) -> ParsedStatement | None:
    """None if it is about none of ``tables`` (by ``schema.name``). Raises Unread."""
    replacing = re.match(r"(?i)REPLACE( INTO)?\b", said.text)
    text = f"INSERT INTO{said.text[replacing.end() :]}" if replacing else said.text
    try:
        tree = sqlglot.parse_one(_readable(text), dialect="mysql")
    except (SqlglotError, RecursionError, ValueError) as error:
        reason = re.sub(r"\x1b\[\d+m", "", str(error)).splitlines() or [type(error).__name__]
        raise Unparsed(reason[0]) from None
    if isinstance(tree, exp.Command):
        raise Unparsed(f"{str(tree.this).upper()} is not analyzed")
    if isinstance(tree, _NO_DATA):
        return None
    if not isinstance(tree, exp.Query | exp.Insert | exp.Update | exp.Delete):
        raise Unparsed(f"{type(tree).__name__} is not analyzed")
    return _Reading(tree, said.database, tables, "replace" if replacing else "").statement()


def _readable(text: str) -> str:
    text = re.sub(r"\(\.\.\.\) ?/\* , \.\.\. \*/", "(?), (?)", text)
    text = re.sub(r"\(\?\) ?/\* , \.\.\. \*/", "(?), (?)", text)
    text = re.sub(r"\( ?\.\.\. ?\)", "(?)", text)
    return re.sub(r"\?, \.\.\.", "?, ?", text)


class _Reading:
    """One statement's tree, and the tables that are mapped under the names that they have in it."""

    def __init__(
        self,
        tree: exp.Query | exp.Insert | exp.Update | exp.Delete,
        database: str,
        tables: Mapping[str, Table],
        verb: str,
    ) -> None:
        self.tree = tree
        self.verb = verb or ("select" if isinstance(tree, exp.Query) else type(tree).__name__.lower())
        self.asked: dict[str, AskedOfTable] = {}
        self.others: list[str] = []
        self.seen = 0
        folded = {name.lower(): table for name, table in tables.items()}
        common = {each.alias.lower() for each in tree.find_all(exp.CTE)}
        for each in tree.find_all(exp.Table):
            name = f"{each.db or database}.{each.name}"
            if not each.db and each.name.lower() in common:
                continue
            self.seen += 1
            table = tables.get(name) or folded.get(name.lower())
            alias = (each.alias or each.name).lower()
            if table is None:
                self.others.append(each.name)
            elif alias not in self.asked:
                self.asked[alias] = AskedOfTable(table, alias)

    def statement(self) -> ParsedStatement | None:
        if not self.asked:
            return None
        tree = self.tree
        made = ParsedStatement(tree.sql(dialect="mysql"), self.verb, list(self.asked.values()), self.others)
        if self.verb == "replace":
            made.text = f"REPLACE{made.text[len('INSERT') :]}"
        made.why = list(self._not_one_request())
        for condition in self._conditions():
            self._note(condition)
        if isinstance(tree, exp.Insert):
            self._inserted(tree, made)
        elif isinstance(tree, exp.Update):
            self._assigned(tree.expressions, made)
        elif isinstance(tree, exp.Select):
            self._selected(tree, made)
        self._ordered(made)
        return made

    def _not_one_request(self) -> Iterator[str]:
        tree = self.tree
        if isinstance(tree, exp.SetOperation):
            yield "UNION"
        if tree.find(exp.CTE):
            yield "a WITH"
        if isinstance(tree, exp.Insert) and isinstance(tree.expression, exp.Query):
            yield "INSERT … SELECT"
        elif not isinstance(tree, exp.SetOperation) and any(one is not tree for one in tree.find_all(exp.Select)):
            yield "a subquery"
        if tree.find(exp.Join):
            yield "a join"
        if tree.find(exp.Window):
            yield "a window function"

    def _conditions(self) -> Iterator[exp.Expression]:
        where = self.tree.args.get("where")
        if where:
            yield from _conjuncts(where.this)
        for join in self.tree.find_all(exp.Join):
            if join.args.get("on"):
                yield from _conjuncts(join.args["on"])
            for name in join.args.get("using") or ():
                self._using(name.name)

    def _using(self, name: str) -> None:
        having = [(one, found) for one in self.asked.values() if (found := _column(one.table, name))]
        for one, own in having:
            one.joined += [(own, other.alias, theirs) for other, theirs in having if other is not one]

    def _place(self, node: exp.Expression | None) -> tuple[AskedOfTable, str] | None:
        """The table and the column that ``node`` is, if it is one of ours."""
        while isinstance(node, exp.Paren):
            node = node.this
        if not isinstance(node, exp.Column):
            return None
        if node.table:
            asked = self.asked.get(node.table.lower())
            name = asked and _column(asked.table, node.name)
            return (asked, name) if asked and name else None
        for asked in self.asked.values():
            if name := _column(asked.table, node.name):
                return asked, name
        return None

    def _note(self, node: exp.Expression) -> None:
        if not node.find(exp.Column):
            return
        if isinstance(node, exp.EQ | exp.NullSafeEQ) and self._equality(node):
            return
        if isinstance(node, exp.In) and self._in(node):
            return
        if isinstance(node, exp.Or) and self._alternatives(node):
            return
        if self._range(node):
            return
        for column in node.find_all(exp.Column):
            if place := self._place(column):
                place[0].filters.append(place[1])
                place[0].other = True

    def _equality(self, node: exp.Expression) -> bool:
        left, right = node.this, node.expression
        if isinstance(left, exp.Tuple):
            # The values of a list have been made one, see ``without_values``.
            known = isinstance(right, exp.Tuple) and len(right.expressions) == len(left.expressions)
            values = right.expressions if known else [right] * len(left.expressions)
            for one, other in zip(left.expressions, values, strict=True):
                self._note(exp.EQ(this=one.copy(), expression=other.copy()))
            return True
        one, other = self._place(left), self._place(right)
        if one and other:
            if one[0] is other[0]:
                return False
            one[0].joined.append((one[1], other[0].alias, other[1]))
            other[0].joined.append((other[1], one[0].alias, one[1]))
            return True
        place, value = (one, right) if one else (other, left)
        if place and not value.find(exp.Column, exp.Query):
            place[0].equal.add(place[1])
            return True
        return False

    def _in(self, node: exp.In) -> bool:
        if node.args.get("query") or any(each.find(exp.Column) for each in node.expressions):
            return False
        columns = node.this.expressions if isinstance(node.this, exp.Tuple) else [node.this]
        places = [self._place(each) for each in columns]
        if not all(places):
            return False
        for place in places:
            if place:
                place[0].among.add(place[1])
        return True

    def _alternatives(self, node: exp.Or) -> bool:
        """``a = 1 OR a = 2`` is a list."""
        places = set()
        for each in node.flatten():
            inside = each.this if isinstance(each, exp.Paren) else each
            place = self._place(inside.this) if isinstance(inside, exp.EQ | exp.In) else None
            if place is None or inside.args.get("query"):
                return False
            if any(value.find(exp.Column) for value in inside.expressions or [inside.expression] if value):
                return False
            places.add((place[0].alias, place[1]))
        if len(places) != 1:
            return False
        [(alias, name)] = places
        self.asked[alias].among.add(name)
        return True

    def _range(self, node: exp.Expression) -> bool:
        if isinstance(node, exp.Between):
            place = self._place(node.this)
            values = [node.args["low"], node.args["high"]]
            return self._ranged(place, ["between"], values)
        if isinstance(node, exp.Like):
            pattern = node.expression
            fixed = isinstance(pattern, exp.Literal) and not pattern.this.startswith("%")
            place = self._place(node.this)
            if fixed and place and "%" not in pattern.this:
                place[0].equal.add(place[1])
                return True
            return fixed and self._ranged(place, ["begins"], [pattern])
        if type(node) not in RANGES:
            return False
        operator = RANGES[type(node)]
        if place := self._place(node.this):
            return self._ranged(place, [operator], [node.expression])
        return self._ranged(self._place(node.expression), [_TURNED[operator]], [node.this])

    def _ranged(
        self, place: tuple[AskedOfTable, str] | None, operators: list[str], values: list[exp.Expression]
    ) -> bool:
        if place is None or any(value.find(exp.Column, exp.Query) for value in values):
            return False
        place[0].ranges.setdefault(place[1], []).extend(operators)
        return True

    def _inserted(self, tree: exp.Insert, made: ParsedStatement) -> None:
        asked = made.tables[0]
        if isinstance(tree.this, exp.Schema):
            made.assigned = [found for each in tree.this.expressions if (found := _column(asked.table, each.name))]
        else:
            made.assigned = list(asked.table.names)
        made.ignore = bool(tree.args.get("ignore")) or " IGNORE " in made.text[:20].upper()
        made.upsert = bool(tree.args.get("conflict"))
        made.many = isinstance(tree.expression, exp.Values) and len(tree.expression.expressions) > 1

    def _assigned(self, assignments: list[exp.Expression], made: ParsedStatement) -> None:
        for each in assignments:
            place = self._place(each.this)
            if place is None:
                continue
            made.assigned.append(place[1])
            if isinstance(each.expression, exp.Expression) and each.expression.find(exp.Column):
                made.counted_up.append(place[1])

    def _selected(self, tree: exp.Select, made: ParsedStatement) -> None:
        for each in tree.expressions:
            made.aggregates += [one.sql(dialect="mysql") for one in each.find_all(exp.AggFunc)]
            if isinstance(each, exp.Star) or (isinstance(each, exp.Column) and isinstance(each.this, exp.Star)):
                made.columns = []
                break
            made.columns += [place[1] for one in each.find_all(exp.Column) if (place := self._place(one))]
        made.columns = list(dict.fromkeys(made.columns))
        made.counts_only = bool(tree.expressions) and all(
            isinstance(each.unalias(), exp.Count) and not each.find(exp.Distinct) for each in tree.expressions
        )
        group = tree.args.get("group")
        if group:
            made.grouped = [each.sql(dialect="mysql") for each in group.expressions]
        if tree.args.get("distinct"):
            made.grouped = made.grouped or [each.sql(dialect="mysql") for each in tree.expressions]

    def _ordered(self, made: ParsedStatement) -> None:
        order, limit = self.tree.args.get("order"), self.tree.args.get("limit")
        for each in order.expressions if order else ():
            if place := self._place(each.this):
                made.order.append((place[0].alias, place[1], bool(each.args.get("desc"))))
            else:
                made.ordered_otherwise = True
        if limit is not None:
            amount = limit.expression
            known = isinstance(amount, exp.Literal) and amount.this.isdigit()
            made.limit = int(amount.this) if known else -1
        made.offset = self.tree.args.get("offset") is not None


def _conjuncts(node: exp.Expression) -> Iterator[exp.Expression]:
    while isinstance(node, exp.Paren):
        node = node.this
    if isinstance(node, exp.And):
        yield from _conjuncts(node.this)
        yield from _conjuncts(node.expression)
    else:
        yield node


def _column(table: Table, name: str) -> str:
    """MySQL's names of columns are the same in any case."""
    return next((each for each in table.names if each.lower() == name.lower()), "")
