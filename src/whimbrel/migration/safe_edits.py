"""Which edits of the project file are safe while a migration is under way: those after which every item that was made
is still the item that would be made.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import orjson

from whimbrel.migration.history import History, Name
from whimbrel.project import KeyRule, TableRule
from whimbrel.records import Table

_POLICIES = ("new_columns", "assert_unique", "oversize")  # they change no item
_BY_COLUMN = ("rename", "types", "mask", "codes")


def unsafe_edits(past: History, rules: Iterable[TableRule], now: Mapping[Name, Table]) -> list[str]:
    """In words, those settings that differ from the first rules; empty if the migration may continue.

    Safe is what is said of columns that came after the start, and to leave out columns that went meanwhile: until now
    nothing could be made of the former, nor of the latter from here on.
    """
    before = {_name(rule): rule for rule in past.rules}
    after = {rule.name: _plain(rule) for rule in rules}
    edits = [f"[[table]] {name} is gone" for name in before.keys() - after.keys()]
    edits += [f"[[table]] {name} is new" for name in after.keys() - before.keys()]
    first = {table.full_name: table for table in past.starts().values()}
    last = {table.full_name: table for table in now.values()}
    for name in before.keys() & after.keys():
        source = before[name]["source"]
        lasting = _edits(before[name], after[name], first[source], last[source])
        edits += [f"{name}: {edit}" for edit in lasting]
    return sorted(edits)


def _name(rule: Mapping[str, Any]) -> str:
    return TableRule(rule["source"], "", "", KeyRule("", ""), number=rule.get("number", 0)).name


def _edits(before: Mapping[str, Any], after: Mapping[str, Any], first: Table, last: Table) -> list[str]:
    came = set(last.names) - set(first.names)
    went = set(first.names) - set(last.names)
    shown_again = went & set(before["exclude"]) - set(after["exclude"])
    if shown_again:
        return [f"exclude has no {', '.join(sorted(shown_again))} any more"]
    left, right = _of_lasting(before, came, went), _of_lasting(after, came, went)
    # A setting that there was not yet was as it is where it is not set.
    unset = _plain(TableRule("", "", "record", KeyRule("", "")))
    return [
        f"{key} was {_shown(left.get(key))}, is {_shown(value)}"
        for key, value in right.items()
        if left.get(key, unset[key]) != value
    ]


def _of_lasting(rule: Mapping[str, Any], came: Collection[str], went: Collection[str]) -> dict[str, Any]:
    """The rule without what it says of columns that came, without ``exclude`` for those that went, without policy."""
    lasting = {key: value for key, value in rule.items() if key not in _POLICIES}
    lasting["exclude"] = sorted(set(rule["exclude"]) - set(came) - set(went))
    for key in _BY_COLUMN:
        lasting[key] = {name: value for name, value in rule.get(key, {}).items() if name not in came}
    return lasting


def _plain(rule: TableRule) -> dict[str, Any]:
    plain: dict[str, Any] = orjson.loads(orjson.dumps(rule))
    return plain


def _shown(value: object) -> str:
    return "nothing" if value in ("", [], {}, None) else orjson.dumps(value).decode()
