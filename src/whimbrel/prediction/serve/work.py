"""How much memory the work on a body needs at most, by what stands in it.

The objects that JSON, CSV and records become are many times larger than their bytes, by how much depends on the bytes:
``{"":0}`` is a hundred times seven bytes of digits. What follows are upper bounds, measured on CPython with orjson
(tests/prediction/serve/test_work.py), in bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

from whimbrel.prediction.serve.bodies import CSV, RECORDIO

_TEXT = 6  # for each byte: the text of it, where one character alone makes all of them four bytes wide
_DICT, _LIST, _KEY, _VALUE, _QUOTE = 184, 104, 32, 52, 20  # for each { [ : , and quote
_LINES, _FIELD = 10, 80  # of CSV, for each byte (the text is there twice) and each field
_NUMBER = 32  # for each byte of a record, whose keys may have one each
_ANSWER, _SCORE = 64, 26  # for each row, and for each of its scores
_MAGIC = b"\x0a\x23\xd7\xce"  # before each record


def work(body: bytes, content_type: str, labels: Sequence[str]) -> int:
    """At most so many bytes beside the body, with the whole answer of a model that has these classes."""
    kind = content_type.partition(";")[0].strip().lower()
    count = body.count
    if kind == CSV:
        rows, size = count(b"\n") + count(b"\r") + 1, _LINES * len(body) + _FIELD * count(b",")
    elif kind == RECORDIO:
        rows, size = count(_MAGIC), _NUMBER * len(body)
    else:
        by_column = b'"inputs"' in body or b"\\u" in body  # or written otherwise
        rows = count(b",") + 1 if by_column else count(b"{") + count(b"[")  # else each is one of the two
        size = _TEXT * len(body) + _DICT * count(b"{") + _LIST * count(b"[")
        size += _KEY * count(b":") + _VALUE * count(b",") + _QUOTE * count(b'"')
    longest = 6 * max(map(len, labels)) if len(labels) > 2 else 0  # a name, with every character escaped
    # The answer is made in parts and then joined, and so is there twice.
    return size + rows * 2 * (_ANSWER + _SCORE * (len(labels) if len(labels) > 2 else 1) + longest)
