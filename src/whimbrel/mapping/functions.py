"""What an expression may call: SQLite's functions that give the same for the same row, and a few of our own.

A row is read by the snapshot and by the binlog, and its changes may be applied again after a crash: an expression whose
result hung on the moment, the machine or chance would give different items for one row. So ``random``, the present
(``'now'``, ``CURRENT_TIMESTAMP``) and this machine's time zone (``'localtime'``, ``'utc'``) are refused by name.

Change metadata (``whimbrel.records.Provenance``) may be used too, but not where it would decide what an item
is: ``change_operation()``, ``change_position()``, ``change_sequence()``, ``change_time()``, and
``operation_indicator(deleted, updated, inserted)``, as in AWS DMS.

Ours: ``hash_sha256(x)``, hexadecimal, as in AWS DMS; ``digits_mask(x[, character])`` and ``digits_randomize(x)``, which
gives the same digits for the same text; ``decimal_add``, ``_sub``, ``_mul`` and ``_cmp`` of SQLite's decimal extension,
exact at any length. Each is NULL where an argument is.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Callable, Sequence
from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow
from typing import Any

from whimbrel.item import plain
from whimbrel.records import Provenance

_TIMES = ("date", "time", "datetime", "julianday", "strftime")
ALLOWED = frozenset(
    (
        *("lower", "upper", "ltrim", "rtrim", "trim", "replace", "substr", "substring", "hex", "length", "instr"),
        *(
            "abs",
            "round",
            "max",
            "min",
            "sign",
            "coalesce",
            "ifnull",
            "nullif",
            "iif",
            "typeof",
            "unicode",
            "char",
            "zeroblob",
        ),
        *("printf", "format", "like", "glob", "json_extract", "->", "->>", *_TIMES),
    )
)
OWN: tuple[str, ...] = (
    "hash_sha256", "digits_mask", "digits_randomize", "decimal_add", "decimal_sub", "decimal_mul", "decimal_cmp",
)  # fmt: skip
OF_CHANGE: tuple[str, ...] = (
    "change_operation", "change_position", "change_sequence", "change_time", "operation_indicator",
)  # fmt: skip
TAKES_DECIMALS = frozenset({"hash_sha256", "typeof", "decimal_add", "decimal_sub", "decimal_mul", "decimal_cmp"})
_OTHER_EACH_TIME = "gives another value each time"
REFUSED = {
    **dict.fromkeys(("random", "randomblob", "changes", "total_changes", "last_insert_rowid"), _OTHER_EACH_TIME),
    **dict.fromkeys(("current_timestamp", "current_date", "current_time"), _OTHER_EACH_TIME),
}

_EXACT = Context(prec=1000, traps=[Inexact, InvalidOperation, Overflow])
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)")


def install(
    connection: sqlite3.Connection, times: sqlite3.Connection, why: list[str], came: Sequence[Provenance]
) -> None:
    """Make the functions known to ``connection``; the reason of one that fails goes to ``why``.

    ``times`` is another one, which those of time ask. ``came`` has the change metadata of the row that is being
    evaluated.
    """

    def make(name: str, arguments: int, function: Callable[..., Any]) -> None:
        def called(*values: Any) -> Any:
            try:
                return function(*values)
            except (ValueError, ArithmeticError, sqlite3.Error) as error:
                why.append(f"{name}: {error}")
                raise

        connection.create_function(name, arguments, called, deterministic=True)

    make("hash_sha256", 1, _hash)
    make("digits_mask", 1, lambda text: _digits_mask(text, "#"))
    make("digits_mask", 2, _digits_mask)
    make("digits_randomize", 1, _digits_randomize)
    make("decimal_add", 2, lambda a, b: _decimal(_EXACT.add, a, b))
    make("decimal_sub", 2, lambda a, b: _decimal(_EXACT.subtract, a, b))
    make("decimal_mul", 2, lambda a, b: _decimal(_EXACT.multiply, a, b))
    make("decimal_cmp", 2, _decimal_cmp)
    for name, field in zip(OF_CHANGE, Provenance._fields, strict=False):
        connection.create_function(name, 0, lambda field=field: getattr(came[0], field))
    connection.create_function("operation_indicator", 3, lambda *texts: _indicator(came[0].operation, *texts))
    for name in _TIMES:
        make(name, -1, _timeless(times, name))


def _indicator(operation: str, deleted: Any, updated: Any, inserted: Any) -> Any:
    return {"DELETE": deleted, "UPDATE": updated}.get(operation, inserted)


def _timeless(connection: sqlite3.Connection, name: str) -> Callable[..., Any]:
    """SQLite's own function of that name, but never for the present or in this machine's time zone."""
    first = 1 if name == "strftime" else 0

    def called(*values: Any) -> Any:
        if len(values) <= first or str(values[first]).lower() in ("now", "subsec", "subsecond"):
            raise ValueError("the present gives another value each time: use a column's time")
        if any(str(value).strip().lower() in ("localtime", "utc") for value in values[first + 1 :]):
            raise ValueError("'localtime' and 'utc' depend on this machine's time zone: write the offset, as '+02:00'")
        marks = ",".join("?" * len(values))
        return connection.execute(f"SELECT {name}({marks})", values).fetchone()[0]

    return called


def _hash(value: Any) -> str | None:
    if value is None:
        return None
    return hashlib.sha256(value if isinstance(value, bytes) else _text(value).encode()).hexdigest()


def _digits_mask(value: Any, character: Any) -> str | None:
    if value is None or character is None:
        return None
    return re.sub(r"\d", lambda _: str(character), _text(value))


def _digits_randomize(value: Any) -> str | None:
    if value is None:
        return None
    text = _text(value)
    digits = iter(str(int.from_bytes(hashlib.shake_256(text.encode()).digest(len(text) + 8))))
    return re.sub(r"\d", lambda _: next(digits), text)


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        raise ValueError("binary has no text")
    return repr(value) if isinstance(value, float) else str(value)


def _decimal(function: Callable[[Decimal, Decimal], Decimal], one: Any, other: Any) -> str | None:
    if one is None or other is None:
        return None
    return plain(function(_number(one), _number(other)))


def _decimal_cmp(one: Any, other: Any) -> int | None:
    if one is None or other is None:
        return None
    a, b = _number(one), _number(other)
    return (a > b) - (a < b)


def _number(value: Any) -> Decimal:
    if isinstance(value, float):
        raise ValueError(f"{value!r} is a REAL, which is not exact: write a decimal in quotes, as '0.1'")
    if isinstance(value, bytes) or not _NUMBER.fullmatch(str(value)):
        raise ValueError(f"{value!r} is not a decimal number")
    return Decimal(str(value))
