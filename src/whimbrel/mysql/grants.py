"""What an account may do, as SHOW GRANTS tells it.

Some of information_schema is simply empty for an account that lacks a privilege: what is not there may also be hidden,
so who asks must know what may be seen.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from whimbrel.mysql.connect import Mysql, rows_as_dicts

_GRANT = re.compile(r"GRANT (?P<privileges>.+?) ON (?P<scope>.+?) TO ", re.DOTALL)


class Grant(NamedTuple):
    """``schema`` is a pattern with ``%`` and ``_``, or ``*`` for all; ``table`` is a name, or ``*`` for all."""

    privileges: frozenset[str]
    schema: str
    table: str


def grants_of(connection: Mysql) -> list[Grant]:
    """The grants of the account that is connected, with those of its active roles as far as the server lists them."""
    texts = [str(next(iter(row.values()))) for row in rows_as_dicts(connection, "SHOW GRANTS")]
    return [grant for text in texts if (grant := _parsed(text))]


def may(grants: list[Grant], *privileges: str, schema: str = "*", table: str = "*") -> bool:
    """Whether one of ``privileges`` (any spelling of the same right) is granted on the table, the schema or on all."""
    wanted = {*privileges, "ALL PRIVILEGES", "ALL"}
    return any(
        wanted & grant.privileges and covers(grant.schema, schema) and grant.table in ("*", table) for grant in grants
    )


def _parsed(text: str) -> Grant | None:
    found = _GRANT.match(text)
    if not found or "." not in found["scope"]:  # a role, or PROXY
        return None
    without_columns = re.sub(r"\([^)]*\)", "", found["privileges"])
    privileges = frozenset(part.strip().upper() for part in without_columns.split(","))
    parts = re.findall(r"`(?:[^`]|``)*`|\*", found["scope"])
    if len(parts) != 2:
        return None
    schema, table = (part if part == "*" else part[1:-1].replace("``", "`") for part in parts)
    return Grant(privileges, schema, table)


def covers(pattern: str, schema: str) -> bool:
    """MySQL's own pattern of a schema in a GRANT: ``%``, ``_``, and a backslash before one that is meant as it is."""
    if pattern == "*" or pattern == schema:
        return True
    pieces = re.findall(r"\\.|.", pattern, re.DOTALL)
    wild = {"%": ".*", "_": "."}
    return bool(re.fullmatch("".join(wild.get(piece) or re.escape(piece[-1]) for piece in pieces), schema, re.DOTALL))
