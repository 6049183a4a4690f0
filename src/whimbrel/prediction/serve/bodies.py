"""Request bodies to rows, in the formats of SageMaker's linear-learner.

text/csv has one record a line; application/json ``{"instances": [{"features": [...]}]}``, or ``{"data": {"features":
{"values": [...]}}}``, or that with ``keys`` and ``shape`` (sparse); application/jsonlines one such instance a line.
Here an instance, or its features, may also be an object by name (``{"age": 34, ...}``), and values may be the names of
categories. application/x-recordio-protobuf (recordio.py) has numbers only. The values themselves are read by the model
(features.py), as in training.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Generator, Iterator, Sequence
from itertools import islice
from typing import Any

import orjson

from whimbrel.prediction.serve import recordio

CSV, JSON, JSON_LINES = "text/csv", "application/json", "application/jsonlines"
RECORDIO = "application/x-recordio-protobuf"
_SHORT_LINE = 64 << 10  # bytes; csv has a limit for a field
_FORMS = ("instances", "dataframe_split", "dataframe_records", "inputs")
_CHARSET = re.compile(r";\s*charset\s*=\s*[\"']?([^\s;\"']*)", re.IGNORECASE)
_COLON = re.compile(rb'"[ \t\r\n]*:')
_UTF8 = ("utf-8", "utf8", "us-ascii", "ascii")
Row = list[Any] | dict[str, Any]


class BodyError(Exception):
    """A request that cannot be answered: the container's HTTP status, and what to do about it."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


def rows_of(body: bytes, content_type: str, names: Sequence[str], at_once: int) -> Iterator[list[Row]]:
    """The rows of a body, ``at_once`` at a time. Raises BodyError, at the latest when that row is reached."""
    kind = CSV if content_type == CSV else _kind(content_type)
    if kind == CSV:
        if row := _only_row(body, names):
            yield [row]
            return
        rows = _csv_rows(_text(body), names)
    elif kind == "" and body.lstrip()[:1] not in (b"{", b"["):
        raise BodyError(f"the request has no Content-Type, and its body is not JSON: send {CSV}, {JSON} or another")
    elif kind in ("", JSON):
        rows = _json_rows(body, len(names))
    elif kind in (JSON_LINES, "application/x-jsonlines", "application/x-ndjson"):
        rows = _json_lines(body, len(names))
    elif kind == RECORDIO:
        rows = _records(body, len(names))
    else:
        known = f"{CSV}, {JSON}, {JSON_LINES} or {RECORDIO}"
        raise BodyError(f"content type {kind[:80]!r} is not supported: send {known}", 415)
    part = list(islice(rows, at_once))
    if not part:
        raise BodyError("the body has no row")
    while part:
        yield part
        part = list(islice(rows, at_once))


def _kind(content_type: str) -> str:
    """The media type. Raises BodyError for text that is said to be in another encoding than UTF-8."""
    charset = _CHARSET.search(content_type)
    if charset and charset[1].lower() not in _UTF8:
        raise BodyError(f"charset {charset[1][:40]!r} is not supported: send UTF-8", 415)
    return content_type.partition(";")[0].strip().lower()


def _text(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig" if body.startswith(b"\xef\xbb\xbf") else "utf-8")
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        raise BodyError(f"line {line}: the body is not UTF-8 (byte {error.start})") from None


def _only_row(body: bytes, names: Sequence[str]) -> Row | None:
    """The row of a body that is a line without quotes, as most are: what ``_csv_rows`` gives for it, in a fifth of the
    time. None for all others.
    """
    if b'"' in body or b"\n" in body[:-1] or b"\r" in body or len(body) > _SHORT_LINE:
        return None
    try:
        text = body.decode().removesuffix("\n")
    except UnicodeDecodeError:
        return None
    fields: Row = text.split(",")
    if " " in text or "\t" in text:
        fields = [each.strip() for each in fields]
    # Not an empty body, one with a byte order mark, or what may be a header.
    return fields if text and text[0] != "\ufeff" and names[0] not in fields else None


def _csv_rows(text: str, names: Sequence[str]) -> Iterator[Row]:
    # newline="" leaves the line ends to csv, which knows those inside quotes.
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    spaced = " " in text or "\t" in text
    header: list[str] | None = None
    first = True
    try:
        for fields in reader:
            if spaced:
                fields = [each.strip() for each in fields]  # as tables.py does for training
            if not fields:
                continue
            if first:
                first = False
                if names[0] in fields and set(names) <= set(fields):
                    # A header; then the columns may stand in any order, and others between them.
                    header = _header(fields)
                    continue
            if header is None:
                yield fields
            else:
                yield _by_header(header, fields, names, reader.line_num)
    except csv.Error as error:
        raise BodyError(f"line {reader.line_num}: not CSV: {error}") from None


def _header(fields: list[str]) -> list[str]:
    names: set[str] = set()
    for name in fields:
        if name in names:
            raise BodyError(f"line 1: the header has the column {name[:80]!r} twice")
        names.add(name)
    return fields


def _by_header(header: list[str], fields: list[str], names: Sequence[str], line: int) -> Row:
    if len(fields) != len(header):
        raise BodyError(f"line {line}: {len(fields)} values under a header of {len(header)} columns")
    values = dict(zip(header, fields, strict=True))
    return [values[name] for name in names]


def _json_rows(body: bytes, width: int) -> Iterator[Row]:
    document = load_json(body, "the body is not JSON")
    instances = document
    if isinstance(document, dict):
        forms = [each for each in _FORMS if each in document]
        if len(forms) > 1:
            raise BodyError(f"{' and '.join(forms)} were both sent: send one of them")
        if document.get("params"):
            raise BodyError("params are not supported")
        instances = document["instances"] if "instances" in document else _mlflow(document)
        if unknown := document.keys() - {*forms, "params"}:
            raise BodyError(f"{min(unknown)[:80]!r} beside {forms[0]} is not supported")
    if not isinstance(instances, (list, Generator)):
        raise BodyError('the body must be {"instances": [...]}')
    for number, instance in enumerate(instances, 1):
        yield _features(instance, width, f"instance {number}")


def load_json(text: bytes, fault: str) -> Any:
    """The JSON in ``text``, in which no object has a name twice: one of the two values would be lost. Raises BodyError,
    which begins with ``fault`` where it is not JSON.
    """
    try:
        value = orjson.loads(text)
        # Each name stands before a colon, and strings may have more: then it takes longer to say.
        names = _names(value)
        if names != text.count(b":") and names != sum(1 for _ in _COLON.finditer(text)):
            del value  # not both at once: a body may be large
            json.loads(text, object_pairs_hook=_without_repeats)
            value = orjson.loads(text)
    except (ValueError, RecursionError) as error:
        raise BodyError(f"{fault}: {error}{_not_a_number(text)}") from None
    return value


def _names(value: Any, *, walk: bool = True) -> int:
    """How many names the objects in ``value`` have, but for those in lists within a list: there are a row's values."""
    if value.__class__ is dict:
        return len(value) + sum(_names(each, walk=walk) for each in value.values() if each.__class__ in (dict, list))
    if value.__class__ is not list or not walk:
        return 0
    return sum(_names(each, walk=False) for each in value if each.__class__ is dict)


def _without_repeats(pairs: list[tuple[str, Any]]) -> None:
    names: set[str] = set()
    for name, _ in pairs:
        if name in names:
            raise BodyError(f"the name {name[:80]!r} occurs twice in one object")
        names.add(name)


def _mlflow(document: dict[str, Any]) -> Any:
    """The rows of a body as MLflow's scoring server takes it, which has one of its forms. Raises BodyError.

    Objects are made of them one by one: all at once would be more than is counted for the body.
    """
    forms = [each for each in _FORMS if each in document]
    if len(forms) != 1:
        raise BodyError('the body must be {"instances": [...]}')
    given = document[forms[0]]
    if forms[0] == "dataframe_split":
        return _split(given)
    if forms[0] == "inputs" and isinstance(given, dict):
        lists = [each for each in given.values() if isinstance(each, list)]
        if len(lists) != len(given) or len(set(map(len, lists))) > 1:
            raise BodyError("inputs by name must be lists of the same length")
        return (dict(zip(given, values, strict=True)) for values in zip(*lists, strict=True))
    return given


def _split(given: Any) -> Generator[Row]:
    columns, data = (given.get("columns"), given.get("data")) if isinstance(given, dict) else (None, None)
    if (
        not isinstance(columns, list)
        or not isinstance(data, list)
        or not all(isinstance(each, str) for each in columns)
    ):
        raise BodyError('dataframe_split must be {"columns": [names], "data": [rows]}')
    if len(set(columns)) != len(columns):
        raise BodyError("dataframe_split has a column twice")
    for number, row in enumerate(data, 1):
        if not isinstance(row, list) or len(row) != len(columns):
            raise BodyError(f"row {number} of dataframe_split is not a list of {len(columns)} values")
    return (dict(zip(columns, row, strict=True)) for row in data)


def _not_a_number(body: bytes) -> str:
    """What to send instead, where Python's NaN or Infinity stands, which JSON does not have."""
    found = re.search(rb"[\[,:]\s*(-?Infinity|NaN)\s*[\],}]", body)
    return f" ({found[1].decode()} is not JSON; a missing value is null)" if found else ""


def _json_lines(body: bytes, width: int) -> Iterator[Row]:
    for number, line in enumerate(io.BytesIO(body), 1):  # one line at a time, not all of them at once
        if line.strip():
            yield _features(load_json(line, f"line {number}: not JSON"), width, f"line {number}")


def _records(body: bytes, width: int) -> Iterator[Row]:
    try:
        for number, each in enumerate(recordio.read(body), 1):
            sparse = bool(each.keys) or not each.values
            given = {"keys": each.keys, "values": each.values} | ({"shape": each.shape} if each.shape else {})
            yield _sparse(given, width, f"record {number}") if sparse else each.values
    except recordio.BadRecord as error:
        raise BodyError(str(error)) from None


def _features(instance: Any, width: int, place: str) -> Row:
    features = instance
    if isinstance(features, dict) and isinstance(features.get("data"), dict) and "features" in features["data"]:
        features = _alone(features, "data", place)
    if isinstance(features, dict) and isinstance(features.get("features"), (dict, list)):
        features = _alone(features, "features", place)
    if isinstance(features, dict) and isinstance(features.get("values"), list):
        features = _sparse(features, width, place) if "keys" in features else features["values"]
    if isinstance(features, (list, dict)):
        return features
    raise BodyError(f'{place}: must be {{"features": [...]}}, or an object with the values by name')


def _alone(wrapper: dict[str, Any], name: str, place: str) -> Any:
    if len(wrapper) > 1:
        raise BodyError(f"{place}: {min(wrapper.keys() - {name})[:80]!r} beside {name} is not supported")
    return wrapper[name]


def _sparse(features: dict[str, Any], width: int, place: str) -> Row:
    """``keys`` are positions, ``shape`` is [how many]; what has no key is 0, as the format says."""
    keys, values = features["keys"], features["values"]
    if features.get("shape", [width]) != [width]:
        raise BodyError(f"{place}: shape must be [{width}], not {str(features['shape'])[:40]}")
    if not isinstance(keys, list) or len(keys) != len(values):
        raise BodyError(f"{place}: keys and values must be lists of the same length")
    row: list[Any] = [0] * width
    for key, value in zip(keys, values, strict=True):
        if not isinstance(key, int) or isinstance(key, bool) or not 0 <= key < width:
            raise BodyError(f"{place}: key {str(key)[:40]} is not a position from 0 to {width - 1}")
        row[key] = value
    if len(set(keys)) < len(keys):
        raise BodyError(f"{place}: a key occurs twice")
    return row
