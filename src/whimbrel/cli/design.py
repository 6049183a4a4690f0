"""``whimbrel design``: what is proposed, printed for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from whimbrel.api import checks as verbs
from whimbrel.api.checks import DesignResult
from whimbrel.cli.frame import OK, say_json
from whimbrel.project import PASSWORD_VARIABLE

SHOWN_UNREAD = 20


def design(url: str, as_json: bool, **options: Any) -> int:
    made = verbs.design(url, **options)
    if as_json:
        say_json(made.to_dict())
        return OK
    for line in design_lines(made):
        click.echo(line)
    return OK


def design_lines(made: DesignResult) -> Iterator[str]:
    for table in made.tables:
        yield f"table    {table.source} → {table.target}: {table.place}"
        yield from (f"         {each}" for each in table.indexes)
        yield from (f"         why: {each}" for each in table.why)
        yield from (f"         weighed: ${dollars:,.2f} with {words}" for words, dollars in table.weighed)
        yield from (f"         assumed: {each}" for each in table.assumed)
    for each in made.statements:
        units = f"{each.read_units:,.1f} read, {each.write_units:,.1f} write units"
        yield f"serves   ${each.dollars:,.2f} {each.how}, {units}: {each.statement}"
        if each.how != each.plain:
            yield f"         before: ${each.plain_dollars:,.2f} {each.plain}"
        yield from (f"         # {note}" for note in each.notes)
    for text, count, why in made.unread[:SHOWN_UNREAD]:
        yield f"         not read, {count:,}: {text}  # {why}"
    yield from (f"         {each}" for each in made.left_out)
    plain = f"${made.indexed_dollars:,.2f} with the indexes that are wanted, ${made.plain_dollars:,.2f} without"
    yield f"cost     ${made.dollars:,.2f} a month on demand, prices {made.prices}; one table for each: {plain}"
    yield f"Wrote {made.path}."
    if made.password_given:
        yield f"The password is not in it: set {PASSWORD_VARIABLE} in the environment."
    yield f"Next: read {made.path} and docs/design.md, then `whimbrel check`."
