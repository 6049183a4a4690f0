"""A design for 30 tables and 200 statements: how long the search takes. ``python -m benchmarks.design [--json]``"""

from __future__ import annotations

import argparse
import json
import random
import resource
import time

from whimbrel.checks.access.parse import parse
from whimbrel.checks.access.statements import counted_sql
from whimbrel.checks.cost import read_prices
from whimbrel.proposal.known import Amount, KnownTable, Link, guessed, usual_bytes
from whimbrel.proposal.placement import names_of
from whimbrel.proposal.scale import Asking, Scale, asking
from whimbrel.proposal.search import Search
from whimbrel.records import Column, Table

TABLES, STATEMENTS = 30, 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", type=int, default=TABLES)
    parser.add_argument("--statements", type=int, default=STATEMENTS)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    scale = scale_of(chosen.tables, chosen.statements)
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_utime
    found = Search(scale).run()
    seconds, cpu = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_utime - before
    figures = {
        "tables": chosen.tables,
        "statements": len(scale.askings),
        "seconds": round(seconds, 2),
        "cpu_seconds": round(cpu, 2),
        "dollars": round(scale.total(found.best), 2),
        "one_table_each": round(scale.total(found.indexed), 2),
    }
    print(json.dumps(figures) if chosen.json else "  ".join(f"{name} {each}" for name, each in figures.items()))


def scale_of(tables: int, statements: int) -> Scale:
    """Tables of some columns, of which all but the first refer to one or two before them."""
    dice = random.Random(7)
    known: dict[str, KnownTable] = {}
    for number in range(tables):
        known[f"app.tab{number}"] = _table(number, dice, known)
    names = names_of([each.table for each in known.values()], {name: each.table.name for name, each in known.items()})
    return Scale(known, _askings(known, statements, dice), names, read_prices(None, "us-east-1"))


def _table(number: int, dice: random.Random, known: dict[str, KnownTable]) -> KnownTable:
    parents = sorted(set(dice.choices(range(number), k=dice.randint(1, 2)))) if number else []
    columns = [Column("id", "int", nullable=False, type_name="bigint")]
    columns += [Column(f"tab{parent}_id", "int", nullable=False, type_name="bigint") for parent in parents]
    columns += [Column("made", "datetime", nullable=False), Column("state", "enum", nullable=False, members=("a", "b"))]
    columns += [Column(f"text{each}", "text", length=60) for each in range(dice.randint(2, 8))]
    table = Table("app", f"tab{number}", tuple(columns), ("id",))
    rows = float(10 ** dice.randint(3, 7))
    links = tuple(Link((f"tab{parent}_id",), f"app.tab{parent}") for parent in parents)
    guess = guessed(table, rows, (table.primary_key,), {each.columns: known[each.parent].rows for each in links})

    def amounts(names: tuple[str, ...]) -> Amount:
        average = guess(names).average
        return Amount(average, 3 * average)

    return KnownTable(table, rows, {column.name: usual_bytes(column) for column in columns}, amounts, links)


def _askings(known: dict[str, KnownTable], wanted: int, dice: random.Random) -> list[Asking]:
    tables = {name: each.table for name, each in known.items()}
    found: dict[str, Asking] = {}
    while len(found) < wanted:
        name = dice.choice(list(known))
        for said, count in counted_sql(_statement(known[name], dice), "app").items():
            statement = parse(said, tables)
            if statement:
                found.setdefault(statement.text, asking(len(found), statement, count / 86_400))
    return list(found.values())


def _statement(known: KnownTable, dice: random.Random) -> str:
    table, links = known.table, known.links
    name, text = table.name, dice.choice([each for each in table.names if each.startswith("text")])
    forms = [
        f"SELECT * FROM {name} WHERE id = 1",
        f"SELECT id, {text} FROM {name} WHERE {text} = 'x' ORDER BY made DESC LIMIT 20",
        f"SELECT * FROM {name} WHERE state = 'a' AND {text} = 'y'",
        f"UPDATE {name} SET {text} = 'x' WHERE id = 1",
        f"INSERT INTO {name} VALUES (1)",
        f"DELETE FROM {name} WHERE id = 1",
    ]
    for link in links:
        [own], parent = link.columns, link.parent.partition(".")[2]
        forms += [
            f"SELECT * FROM {name} WHERE {own} = 1 ORDER BY made DESC LIMIT {dice.choice([10, 50])}",
            f"SELECT * FROM {parent} p JOIN {name} c ON c.{own} = p.id WHERE p.id = 1",
            f"SELECT c.{text} FROM {name} c JOIN {parent} p ON c.{own} = p.id WHERE c.id = 1",
        ]
    return f"-- times: {10 ** dice.randint(2, 6)}\n{dice.choice(forms)}"


if __name__ == "__main__":
    main()
