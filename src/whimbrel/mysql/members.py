"""The names of an ENUM's or a SET's members, as the server itself makes them.

Everything that the servers say in words about a table (COLUMN_TYPE, SHOW CREATE TABLE) is in utf8mb3, where a character
beyond the Basic Multilingual Plane is a "?". So the members' numbers are given to something of that very type, and read
back as text. It costs nothing to read and takes no more than SELECT on the table:

- the column of a recursive query has the type of its first part, here one row of NULL, and takes numbers in its second;
- MariaDB's such column has but eight bits for a SET: there it is the variables of an anonymous block.
"""

from __future__ import annotations

import re

from whimbrel.errors import UnsupportedSource
from whimbrel.mysql.charsets import python_codec
from whimbrel.mysql.connect import Mysql, quoted, rows_as_dicts, server_info

_AT_ONCE = 250  # members that one statement asks for
_MEMBER = re.compile(r"'(?:[^'\\]|''|\\.)*'", re.DOTALL)


def read_members(connection: Mysql, table: tuple[str, str], column: str, words: str, charset: str) -> tuple[str, ...]:
    """The names, in order, of the column with the COLUMN_TYPE ``words``: "enum('a','it''s')". ``charset`` is "" for
    binary.

    Raises UnsupportedSource if the server has another number of them, or one that is not text; PrivilegeError.
    """
    name, place = f"{quoted(table[0])}.{quoted(table[1])}", f"{table[0]}.{table[1]}.{column}"
    count = len(_MEMBER.findall(words))
    if words.lower().startswith("enum"):
        names = []
        for first in range(0, count + 1, _AT_ONCE):  # one more than there are: it must have no name
            numbers = range(first + 1, min(first + _AT_ONCE, count + 1) + 1)
            names += _by_recursion(connection, name, column, list(map(str, numbers)))
    elif server_info(connection).flavor == "mariadb":
        names = _by_variables(connection, f"{name}.{quoted(column)}", count)
    else:
        names = _by_recursion(connection, name, column, [f"1 << {bit}" for bit in range(count + 1)])
    if len(names) != count:
        message = f"has {count} members in {words}, and the server names {len(names)}"
        raise UnsupportedSource(message, place=place, hint="Exclude the table, or change the column's type")
    return tuple(_text(name, number, charset, place) for number, name in enumerate(names, 1))


def _by_recursion(connection: Mysql, table: str, column: str, numbers: list[str]) -> list[bytes]:
    """The names of those numbers that have one, in their order, as bytes in the column's character set."""
    places = " UNION ALL ".join(f"SELECT {place} AS place, {number} AS number" for place, number in enumerate(numbers))
    rows = rows_as_dicts(
        connection,
        f"WITH RECURSIVE named AS ("
        f"SELECT {quoted(column)} AS member, -1 AS place FROM (SELECT 1) one LEFT JOIN {table} ON FALSE "
        f"UNION ALL SELECT number, numbers.place FROM named JOIN ({places}) numbers ON named.member IS NULL) "
        f"SELECT CAST(member AS BINARY) AS name "
        f"FROM named WHERE member + 0 <> 0 ORDER BY place",
    )
    return [row["name"] for row in rows]


def _by_variables(connection: Mysql, column: str, count: int) -> list[bytes]:
    variables = [f"v{bit}" for bit in range(count)]
    given = ", ".join(f"v{bit} = 1 << {bit}" for bit in range(count))
    read = ", ".join(f"CAST({variable} AS BINARY) AS {variable}" for variable in variables)
    [row] = rows_as_dicts(
        connection,
        f"BEGIN NOT ATOMIC DECLARE {', '.join(variables)} TYPE OF {column}; SET {given}; SELECT {read}; END",
    )
    return [row[variable] for variable in variables]


def _text(name: bytes, number: int, charset: str, place: str) -> str:
    try:
        return python_codec(charset, place).decode(name) if charset else name.decode()
    except UnicodeDecodeError:
        raise UnsupportedSource(
            f"its member {number} (x'{name.hex().upper()}') is not text",
            place=place,
            hint="Give it a name in a character set, or exclude the table",
        ) from None
