"""The rules of a DMS file as frozen dataclasses, in the order of the file.

The format is the AWS DMS user guide's: "Using table mapping to specify task settings" and, for object mapping, "Using
an Amazon DynamoDB database as a target". ``whimbrel.dms.read`` reads them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from whimbrel.project import ConditionRule

OPERATORS = ("lte", "ste", "gte", "eq", "noteq", "between", "notbetween", "null", "notnull")
NEGATIVE = ("noteq", "notbetween", "notnull")
NAMING = (
    "rename",
    "convert-lowercase",
    "convert-uppercase",
    "add-prefix",
    "remove-prefix",
    "replace-prefix",
    "add-suffix",
    "remove-suffix",
    "replace-suffix",
)
MASKING = ("data-masking-digits-mask", "data-masking-digits-randomize", "data-masking-hash-mask")
COLUMN_ONLY = (
    "remove-column",
    "include-column",
    "add-column",
    "change-data-type",
    "add-before-image-columns",
    *MASKING,
)
NUMBER_TYPES = ("int1", "int2", "int4", "int8", "uint1", "uint2", "uint4", "uint8", "numeric", "real4", "real8")
TEXT_TYPES = ("string", "wstring", "clob", "nclob")
DATA_TYPES = (*NUMBER_TYPES, *TEXT_TYPES, "boolean", "date", "time", "datetime", "bytes", "blob")


@dataclass(frozen=True, slots=True)
class Locator:
    """Patterns; ``kind`` is table, view or all, ``data_type`` DMS's name for the type of a column, "" for any."""

    schema: str
    table: str = "%"
    column: str = ""
    kind: str = "table"
    data_type: str = ""


@dataclass(frozen=True, slots=True)
class FilterCondition:
    operator: str
    values: tuple[str, ...]  # none, one, or the two of between


@dataclass(frozen=True, slots=True)
class Filter:
    """Rows whose ``column`` meets any of ``conditions``."""

    column: str
    conditions: tuple[FilterCondition, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    id: str
    name: str
    action: str
    locator: Locator
    sound: bool = field(default=True, kw_only=True)

    @property
    def order(self) -> int:
        """Of two rules that meet, the one with the lower number wins."""
        return int(self.id)

    def __str__(self) -> str:
        return f"rule {self.id}"


@dataclass(frozen=True, slots=True)
class Selection(Rule):
    load_order: int = 0
    filters: tuple[Filter, ...] = ()


@dataclass(frozen=True, slots=True)
class DataType:
    type: str
    precision: int | None = None
    scale: int | None = None
    length: int | None = None


@dataclass(frozen=True, slots=True)
class BeforeImage:
    """What the columns of an update's before image are called, and which there are: pk-only, non-lob or all."""

    prefix: str
    suffix: str
    columns: str


@dataclass(frozen=True, slots=True)
class Transformation(Rule):
    target: str = "column"
    value: str = ""
    old_value: str = ""
    expression: str = ""
    data_type: DataType | None = None
    primary_key: tuple[str, ...] = ()
    before_image: BeforeImage | None = None


@dataclass(frozen=True, slots=True)
class MappedAttribute:
    """``type`` is S, N, BOOL with a template, or M or L with a typed tree."""

    name: str
    type: str
    value: str | dict[str, Any]


@dataclass(frozen=True, slots=True)
class ObjectMapping(Rule):
    """``condition`` is what changes are put under, ``load_condition`` the text of one for the full load alone."""

    target: str = ""
    partition_key: str = ""
    sort_key: str = ""
    exclude: tuple[str, ...] = ()
    attributes: tuple[MappedAttribute, ...] = ()
    condition: ConditionRule | None = None
    load_condition: str = ""


@dataclass(frozen=True, slots=True)
class DmsRules:
    """A whole file. ``notes`` say what whimbrel does not need, or does in another way.

    ``faults`` are those that can be seen without the schema; ``translate`` raises them together with its own. A rule
    that has one is not ``sound``: nothing more is said about the tables that it means.
    """

    place: str
    selections: tuple[Selection, ...]
    transformations: tuple[Transformation, ...]
    mappings: tuple[ObjectMapping, ...]
    notes: tuple[str, ...] = field(default=(), compare=False)
    faults: tuple[str, ...] = ()
