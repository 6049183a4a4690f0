"""What DMS calls the type of a MySQL column.

Source: the AWS DMS user guide, "Using a MySQL-compatible database as a source", "Source data types for MySQL".
"""

from __future__ import annotations

from whimbrel.records import Column

_TYPES = {
    "tinyint": "int1", "smallint": "int2", "mediumint": "int4", "int": "int4", "integer": "int4", "bigint": "int8",
    "decimal": "numeric", "numeric": "numeric", "float": "real4", "double": "real8", "real": "real8", "year": "int2",
    "date": "date", "time": "string", "datetime": "datetime", "timestamp": "datetime",
    "tinyblob": "bytes", "blob": "bytes", "mediumblob": "blob", "longblob": "blob", "binary": "bytes",
    "varbinary": "bytes", "bit": "bytes",
    "mediumtext": "nclob", "longtext": "nclob", "json": "clob",
}  # fmt: skip


def dms_type(column: Column) -> str:
    """int4, wstring, nclob, …: WSTRING is all text other than LOBs; spatial columns are BLOB."""
    words = column.type_name.lower().replace("(", " ").split()
    found = "blob" if column.kind == "geometry" else _TYPES.get(words[0] if words else "", "wstring")
    if found.startswith("int") and column.unsigned:
        return f"u{found}"
    return "boolean" if column.type_name.lower().replace(" ", "") in ("bit(1)", "bit") else found


def is_lob(column: Column) -> bool:
    return dms_type(column) in ("clob", "nclob", "blob")
