"""Column types as the servers number them in a table map: MySQL's enum_field_types, and MariaDB's own.

The codes of CHAR, BINARY, ENUM and SET are STRING in the table map itself: see ``metadata.real_type``.
"""

from __future__ import annotations

TINY, SHORT, LONG, FLOAT, DOUBLE = 1, 2, 3, 4, 5
TIMESTAMP, LONGLONG, INT24, DATE, TIME, DATETIME, YEAR, NEWDATE = 7, 8, 9, 10, 11, 12, 13, 14
VARCHAR, BIT = 15, 16
TIMESTAMP2, DATETIME2, TIME2 = 17, 18, 19  # with fractions of a second
BLOB_COMPRESSED, VARCHAR_COMPRESSED = 140, 141  # MariaDB's
VECTOR = 242
JSON, NEWDECIMAL, ENUM, SET = 245, 246, 247, 248
TINY_BLOB, MEDIUM_BLOB, LONG_BLOB, BLOB = 249, 250, 251, 252
VAR_STRING, STRING, GEOMETRY = 253, 254, 255

INTEGERS = (TINY, SHORT, LONG, LONGLONG, INT24)
