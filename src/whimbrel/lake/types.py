"""The types of columns, and how an attribute's type follows from all its values.

=================== ============================================================= ==================
in words            holds                                                         in DuckDB
=================== ============================================================= ==================
``int64``           whole numbers of 64 bits                                      BIGINT
``decimal(p,s)``    numbers with s digits behind the point, p 18 or 38 in all     DECIMAL(p, s)
``double``          numbers that a double prints back as they were                DOUBLE
``number``          any other numbers, as their digits                            VARCHAR
``approximate``     numbers, as the nearest double: only where a person asks      DOUBLE
``string``          S                                                             VARCHAR
``binary``          B                                                             BLOB
``bool``            BOOL                                                          BOOLEAN
``list<T>``         L of one type of values, or a set (SS, NS, BS)                T[]
``struct<a: T>``    M; a name that is not there is NULL                           STRUCT(a T)
``json``            anything else, as DynamoDB's JSON: {"N":"5"}                  VARCHAR
=================== ============================================================= ==================

A number's type is the first of int64, decimal, double, number that holds every value of the attribute exactly. An
attribute whose values have several types, a list of such values, an empty map: json. Nothing is rounded or cut.
``{"NULL": true}`` and an attribute that is not there are both NULL.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import orjson

from whimbrel.lake.items import exact_decimal, extent
from whimbrel.records import AttributeValue

if TYPE_CHECKING:
    import pyarrow

MOST_FIELDS = 500  # of a struct: a map with more names has names that are data, and is json
_INT64 = 2**63
_FEW_DIGITS = re.compile(r"-?[0-9]{1,15}")
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Type:
    """``inner`` is (T,) of a list and the types of a struct's fields, whose ``names`` stand in the same order."""

    kind: str
    precision: int = 0
    scale: int = 0
    inner: tuple[Type, ...] = ()
    names: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.kind == "decimal":
            return f"decimal({self.precision},{self.scale})"
        if self.kind == "list":
            return f"list<{self.inner[0]}>"
        if self.kind == "struct":
            pairs = (f"{_spelled(name)}: {inner}" for name, inner in zip(self.names, self.inner, strict=True))
            return f"struct<{', '.join(pairs)}>"
        return self.kind


JSON, STRING, INT64, BOOL, BINARY = Type("json"), Type("string"), Type("int64"), Type("bool"), Type("binary")
NUMBERS = ("int64", "decimal", "double", "number", "approximate")
# Which DynamoDB types a column's values come from.
TAGS_OF = {"string": ("S",), "binary": ("B",), "bool": ("BOOL",), "struct": ("M",)} | dict.fromkeys(NUMBERS, ("N",))
_SCALARS = {"json", "string", "binary", "bool", "int64", "double", "number", "approximate"}


@dataclass(slots=True)
class Numbers:
    """What a number type must hold: digits before and behind the point, and whether all are whole, or fit a double."""

    whole_digits: int = 1
    scale: int = 0
    int64: bool = True
    double: bool = True

    def add(self, texts: Iterable[str]) -> None:
        for text in texts:
            if _FEW_DIGITS.fullmatch(text):  # it fits into all types
                self.whole_digits = max(self.whole_digits, len(text.lstrip("-0")))
                continue
            value = exact_decimal(text)
            whole, scale = extent(value)
            self.scale = max(self.scale, scale)
            self.whole_digits = max(self.whole_digits, whole)
            self.int64 = self.int64 and not scale and -_INT64 <= value < _INT64
            self.double = self.double and prints_back(text)

    def add_range(self, low: int, high: int) -> None:
        """Whole numbers of 64 bits between these."""
        largest = max(abs(low), abs(high))
        self.whole_digits = max(self.whole_digits, len(str(largest)))
        self.double = self.double and largest <= 2**53

    def type(self) -> Type:
        if self.int64:
            return INT64
        if self.whole_digits + self.scale <= 38:
            return Type("decimal", 18 if self.whole_digits + self.scale <= 18 else 38, self.scale)
        return Type("double") if self.double else Type("number")


def prints_back(text: str) -> bool:
    """True if the nearest double is this very number when it is printed."""
    return exact_decimal(repr(float(text))) == exact_decimal(text)


@dataclass(slots=True)
class Shape:
    """What has been seen of one attribute, or of what stands at one place inside of one."""

    tags: set[str] = field(default_factory=set)
    numbers: Numbers = field(default_factory=Numbers)
    fields: dict[str, Shape] = field(default_factory=dict)
    element: Shape | None = None

    def see(self, value: AttributeValue) -> None:
        """Take one more value into account; it must be a right one (lake/items.py)."""
        ((tag, content),) = value.items()
        if tag == "NULL":
            return
        self.tags.add(tag)
        if tag == "N":
            self.numbers.add((content,))
        elif tag == "M":
            for name, inner in content.items():
                self.fields.setdefault(name, Shape()).see(inner)
        elif tag in ("L", "SS", "NS", "BS"):
            self.element = self.element or Shape()
            for inner in content if tag == "L" else ({tag[0]: member} for member in content):
                self.element.see(inner)

    def type(self) -> Type:
        if len(self.tags) != 1:
            return JSON
        (tag,) = self.tags
        match tag:
            case "S":
                return STRING
            case "N":
                return self.numbers.type()
            case "B":
                return BINARY
            case "BOOL":
                return BOOL
            case "M":
                if not self.fields or len(self.fields) > MOST_FIELDS or _collide(self.fields):
                    return JSON
                names = tuple(sorted(self.fields))
                return Type("struct", inner=tuple(self.fields[name].type() for name in names), names=names)
            case _:
                return Type("list", inner=(self.element.type() if self.element else JSON,))


def arrow_type(kind: Type) -> pyarrow.DataType:
    import pyarrow as pa

    match kind.kind:
        case "int64":
            return pa.int64()
        case "decimal":
            return pa.decimal128(kind.precision, kind.scale)
        case "double" | "approximate":
            return pa.float64()
        case "binary":
            return pa.binary()
        case "bool":
            return pa.bool_()
        case "list":
            return pa.list_(arrow_type(kind.inner[0]))
        case "struct":
            return pa.struct([(name, arrow_type(inner)) for name, inner in zip(kind.names, kind.inner, strict=True)])
        case _:
            return pa.string()


def sql_type(kind: Type) -> str:
    """In DuckDB's words."""
    match kind.kind:
        case "int64":
            return "BIGINT"
        case "decimal":
            return f"DECIMAL({kind.precision}, {kind.scale})"
        case "double" | "approximate":
            return "DOUBLE"
        case "binary":
            return "BLOB"
        case "bool":
            return "BOOLEAN"
        case "list":
            return sql_type(kind.inner[0]) + "[]"
        case "struct":
            pairs = (
                '"' + name.replace('"', '""') + f'" {sql_type(inner)}'
                for name, inner in zip(kind.names, kind.inner, strict=True)
            )
            return f"STRUCT({', '.join(pairs)})"
        case _:
            return "VARCHAR"


def parse_type(text: str) -> Type:
    """The type that ``str`` of it spells. Raises ValueError."""
    parsed, rest = _parse(text.strip())
    if rest.strip():
        raise ValueError(f"{rest!r} follows the type in {text!r}")
    return parsed


def flat(name: str, kind: Type) -> list[tuple[str, Type, tuple[str, ...]]]:
    """(column, type, path inside the attribute) for each leaf of a struct; lists are leaves."""
    if kind.kind != "struct":
        return [(name, kind, ())]
    return [
        (column, leaf, (inner_name, *path))
        for inner_name, inner in zip(kind.names, kind.inner, strict=True)
        for column, leaf, path in flat(f"{name}.{inner_name}", inner)
    ]


def with_fields(kind: Type, other: Type) -> Type:
    """``kind`` and the fields of ``other`` that it has not: what a pinned type may grow by."""
    if kind.kind == other.kind == "struct":
        mine = dict(zip(kind.names, kind.inner, strict=True))
        for name, inner in zip(other.names, other.inner, strict=True):
            mine[name] = with_fields(mine[name], inner) if name in mine else inner
        return replace(kind, names=tuple(mine), inner=tuple(mine.values()))
    if kind.kind == other.kind == "list":
        return replace(kind, inner=(with_fields(kind.inner[0], other.inner[0]),))
    return kind


def _parse(text: str) -> tuple[Type, str]:
    word = re.match(r"[a-z0-9]+", text)
    if not word:
        raise ValueError(f"a type is expected at {text!r}")
    kind, rest = word.group(), text[word.end() :]
    if kind == "decimal" and (digits := re.match(r"\(\s*(\d+)\s*,\s*(\d+)\s*\)", rest)):
        precision, scale = int(digits.group(1)), int(digits.group(2))
        if not 1 <= precision <= 38 or scale > precision:
            raise ValueError(f"decimal({precision},{scale}) is not possible: the limit is 38 digits")
        return Type("decimal", precision, scale), rest[digits.end() :]
    if kind == "list" and rest.startswith("<"):
        inner, rest = _parse(rest[1:].strip())
        return Type("list", inner=(inner,)), _after(rest, ">")
    if kind == "struct" and rest.startswith("<"):
        return _parse_struct(rest[1:])
    if kind not in _SCALARS:
        raise ValueError(f"{kind!r} is not a type; docs/lake.md lists the types")
    return Type(kind), rest


def _parse_struct(rest: str) -> tuple[Type, str]:
    names, inner = [], []
    while True:
        name, rest = _parse_name(rest.strip())
        kind, rest = _parse(_after(rest, ":").strip())
        names.append(name)
        inner.append(kind)
        rest = rest.strip()
        if not rest.startswith(","):
            return Type("struct", inner=tuple(inner), names=tuple(names)), _after(rest, ">")
        rest = rest[1:]


def _parse_name(text: str) -> tuple[str, str]:
    found = re.match(r'"(?:[^"\\]|\\.)*"', text) or _PLAIN_NAME.match(text)
    if not found:
        raise ValueError(f"a name is expected at {text!r}")
    name = found.group()
    return (orjson.loads(name) if name.startswith('"') else name), text[found.end() :]


def _after(text: str, sign: str) -> str:
    if not text.strip().startswith(sign):
        raise ValueError(f"{sign!r} is expected at {text!r}")
    return text.strip()[1:]


def _spelled(name: str) -> str:
    return name if _PLAIN_NAME.fullmatch(name) else orjson.dumps(name).decode()


def _collide(fields: dict[str, Any]) -> bool:
    """DuckDB takes names for equal that differ in case only; and an empty one for none."""
    return len({name.lower() for name in fields}) != len(fields) or "" in fields
