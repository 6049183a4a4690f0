"""DMS expressions (SQLite with ``$COLUMN``) as plain SQLite expressions over the source's columns."""

from __future__ import annotations

import re

from whimbrel.dms.fields import shown
from whimbrel.mapping.expressions import Expressions
from whimbrel.records import Column, Table

_TOKEN = re.compile(
    r"""(?P<string>'(?:[^']|'')*')|(?P<quoted>"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\])"""
    r"""|\$(?P<column>\w+)|\$\{(?P<braced>[^}]*)\}|(?P<function>[A-Za-z_]\w*)(?=\s*\()|(?P<other>.)""",
    re.DOTALL,
)
_HEADERS = {
    "AR_H_OPERATION": "change_operation()",
    "AR_H_STREAM_POSITION": "change_position()",
    "AR_H_CHANGE_SEQ": "change_sequence()",
    "AR_H_TIMESTAMP": "change_time()",
    "AR_H_COMMIT_TIMESTAMP": "change_time()",
}
_CHANGING = {"random", "changes", "last_insert_rowid", "total_changes", "randomblob"}
_CLOCKS = {"date", "time", "datetime", "julianday", "strftime", "unixepoch"}


def translated(expression: str, table: Table, faults: list[str], place: str, of: str = "") -> str:
    """The expression with each ``$COLUMN`` as a quoted name. Columns are matched with regard to case.

    ``of`` is the column that the rule's locator names, if it names one: what $AR_M_SOURCE_COLUMN_… is about.

    An item must be the same whenever it is made from the same change: what depends on anything else is a fault.
    A DECIMAL that ``||`` joins is cast to the text that it is; SQLite would make a REAL of it.
    """
    parts: list[str] = []
    for match in _TOKEN.finditer(expression):
        kind, text = match.lastgroup, match[match.lastgroup or 0]
        if kind in ("column", "braced"):
            joined = _is_joined("".join(parts), expression[match.end() :])
            parts.append(_reference(text, table, joined, faults, place, of))
        elif kind == "function":
            faults += [f"{place}: {fault}" for fault in _function_faults(text.lower(), expression[match.end() :])]
            parts.append(match[0])
        elif text in ("'", '"', "`"):
            faults.append(f"{place}: a quote is not closed in {shown(expression)}")
            return ""
        elif text == "$":
            faults.append(f"{place}: a $ without a column name in {shown(expression)}")
        else:
            parts.append(match[0])
    return "".join(parts)


def name_by(expression: str, table: Table, faults: list[str], place: str, column: Column | None) -> str:
    """The name that an expression over metadata gives to ``table``, or to its ``column``; "" if it is at fault."""
    noted = len(faults)
    text = translated(expression, table, faults, place, column.name if column else "")
    if len(faults) > noted:
        return ""
    reasons: list[str] = []
    made = Expressions(table, {"name": text}, "", reasons)
    faults += [f"{place}: {reason}" for reason in reasons]
    if len(faults) > noted:
        return ""
    if made.uses["name"] or made.provenance_columns:
        faults.append(f"{place}: depends on the rows, and a name is the same for all of them: use $AR_M_SOURCE_… only")
        return ""
    found = (made.evaluate((None,) * len(table.columns)) or {}).get("name")
    if not isinstance(found, str) or not found:
        faults.append(f"{place}: gives {found!r}, which is not a name")
        return ""
    return found


def quoted_name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def quoted_text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _reference(name: str, table: Table, joined: bool, faults: list[str], place: str, of: str) -> str:
    if name in table.names:
        quoted = quoted_name(name)
        return f"CAST({quoted} AS TEXT)" if joined and table.column(name).kind == "decimal" else quoted
    if name == "AR_M_SOURCE_SCHEMA":
        return quoted_text(table.schema)
    if name == "AR_M_SOURCE_TABLE_NAME":
        return quoted_text(table.name)
    if name in ("AR_M_SOURCE_COLUMN_NAME", "AR_M_SOURCE_COLUMN_DATATYPE") and of:
        return quoted_text(of if name.endswith("NAME") else table.column(of).type_name)
    if name in ("AR_M_SOURCE_COLUMN_NAME", "AR_M_SOURCE_COLUMN_DATATYPE"):
        faults.append(f"{place}: ${name} is that of no column: name one in the object-locator, as column-name")
    elif name in _HEADERS:
        return _HEADERS[name]
    elif name.startswith("AR_H_"):
        faults.append(f"{place}: ${name} is not a header of a MySQL source: these are {', '.join(_HEADERS)}")
    else:
        faults.append(f"{place}: ${name} is not a column of the table; names are compared with regard to case")
    return "NULL"


def _is_joined(before: str, after: str) -> bool:
    """Whether what stands between is an operand of ``||``, which binds closer than all but a sign before it."""
    left, right = before.rstrip(), after.lstrip()
    return left.endswith("||") or (right.startswith("||") and not left.endswith(("-", "+", "~")))


def _function_faults(name: str, rest: str) -> list[str]:
    arguments = _arguments(rest)
    if name in _CHANGING:
        return [f"{name}() is refused: the item would be another one each time that it is made"]
    if name in _CLOCKS and (arguments.strip() == "" or re.search(r"'\s*(now|localtime)\s*'", arguments, re.I)):
        return [f"{name} of the clock is refused: the item would be another one each time that it is made"]
    return []


def _arguments(rest: str) -> str:
    """What stands between the parentheses that ``rest`` begins with."""
    depth = 0
    for at, character in enumerate(rest):
        depth += (character == "(") - (character == ")")
        if depth == 0 and character == ")":
            return rest[rest.index("(") + 1 : at]
    return rest
