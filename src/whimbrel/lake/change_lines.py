"""Changes of an incremental export, many lines at once: PyArrow parses them, under a structure that has nothing but the
scalars of known attributes.

They count only if they account for every byte. What was read takes so many bytes at least, in JSON without blanks;
where the lines have no more, there is nothing else in them. So one sum is proof of all lines.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import orjson

from whimbrel.lake.fast import MOST_ATTRIBUTES, Plan
from whimbrel.lake.lines import MAX_LINE

if TYPE_CHECKING:
    import pyarrow

_SCALARS = ("S", "N", "B", "BOOL")
_FRAME = len('{"Metadata":{"WriteTimestampMicros":{"N":""}},"Keys":}')
_SURE = {
    "N": r"^-?[0-9]{1,18}(\.[0-9]{1,18})?$",
    "B": "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$",
}

Texts = Mapping[str, "pyarrow.Array"]  # of each attribute


def is_readable(plan: Plan, key: Collection[str]) -> bool:
    known = dict(plan)
    return (
        0 < len(known) <= MOST_ATTRIBUTES
        and all(tag in _SCALARS for tag in known.values())
        and bool(key)
        and all(name in known for name in key)
    )


def rows_of(lines: Sequence[bytes], plan: Plan, key: tuple[str, ...]) -> tuple[pyarrow.RecordBatch, list[bool]] | None:
    """The attributes of a readable ``plan`` as columns of text, those of the ``key`` alone where the item was deleted
    (True). None says nothing: the lines must be read one by one.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    text, count = b"\n".join(lines), len(lines)
    rows = _parsed(text, plan, key) if _has_a_document_in_each(text, lines) else None
    if rows is None or len(rows) != count:
        return None
    keys, old, new = (_texts(rows[name].combine_chunks(), plan) for name in ("Keys", "OldImage", "NewImage"))
    time = pc.struct_field(rows["Metadata"].combine_chunks(), ["WriteTimestampMicros", "N"])
    accounted = count * _FRAME + _bytes(time)
    for name, texts in (("Keys", keys), ("OldImage", old), ("NewImage", new)):
        there = count - rows[name].null_count
        accounted += _bytes_of(texts, plan, there) + (there * len(f',"{name}":') if name != "Keys" else 0)
    if accounted + (count - 1) != len(text):
        return None
    deleted = rows["NewImage"].combine_chunks().is_null()
    if not (
        _all(pc.match_substring_regex(time, "^[0-9]+$"))
        and not any(keys[name].null_count for name in key)
        and all(_all(pc.or_kleene(deleted, pc.equal(keys[name], new[name]))) for name in key)
        and all(_is_surely_right(image, plan) for image in (keys, old, new))
    ):
        return None
    columns = [keys[name] if name in key else new[name] for name, _ in plan]
    return pa.RecordBatch.from_arrays(columns, [name for name, _ in plan]), deleted.to_pylist()


def _has_a_document_in_each(text: bytes, lines: Sequence[bytes]) -> bool:
    """If it has as many as there are lines. Between two lines there is a brace on either side, so none continues in the
    next one; and without escapes every text in it is as long as its value.
    """
    whole = text.startswith(b"{") and text.endswith(b"}") and text.count(b"}\n{") == len(lines) - 1
    if not whole or b"\\" in text or max(map(len, lines)) > MAX_LINE:
        return False
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _parsed(text: bytes, plan: Plan, key: tuple[str, ...]) -> pyarrow.Table | None:
    import pyarrow as pa
    from pyarrow import json

    reading = json.ReadOptions(use_threads=False, block_size=len(text) + 1)
    parsing = json.ParseOptions(explicit_schema=_schema(plan, key), unexpected_field_behavior="error")
    try:
        return json.read_json(pa.BufferReader(text), reading, parsing)
    except pa.ArrowInvalid:
        return None


@lru_cache(1)
def _schema(plan: Plan, key: tuple[str, ...]) -> pyarrow.Schema:
    import pyarrow as pa

    def image(names: Collection[str]) -> pyarrow.DataType:
        kinds = {tag: pa.bool_() if tag == "BOOL" else pa.string() for tag in _SCALARS}
        return pa.struct([(name, pa.struct([(tag, kinds[tag])])) for name, tag in plan if name in names])

    time = pa.struct([("WriteTimestampMicros", pa.struct([("N", pa.string())]))])
    whole = image([name for name, _ in plan])
    return pa.schema([("Metadata", time), ("Keys", image(key)), ("OldImage", whole), ("NewImage", whole)])


def _texts(images: pyarrow.Array, plan: Plan) -> Texts:
    import pyarrow as pa
    import pyarrow.compute as pc

    there = [field.name for field in images.type]
    found = {name: pc.struct_field(images, [name, tag]) for name, tag in plan if name in there}
    return {name: each.cast(pa.string()) if each.type == pa.bool_() else each for name, each in found.items()}


def _bytes_of(texts: Texts, plan: Plan, images: int) -> int:
    """What so many images take: ``{"name":{"S":"text"},"other":{"N":"1"}}``, none of them empty."""
    size = images * len("{}")
    for name, tag in plan:
        if name in texts and (values := len(texts[name]) - texts[name].null_count):
            around = len(orjson.dumps(name)) + len(':{"":},') + len(tag) + (0 if tag == "BOOL" else len('""'))
            size += values * around + _bytes(texts[name])
    return size - images  # the last of each has no comma behind it


def _bytes(texts: pyarrow.Array) -> int:
    import pyarrow.compute as pc

    return pc.sum(pc.binary_length(texts)).as_py() or 0


def _is_surely_right(texts: Texts, plan: Plan) -> bool:
    """Numbers and base64, of the forms that nearly all have."""
    import pyarrow.compute as pc

    checked = [(texts[name].drop_null(), _SURE[tag]) for name, tag in plan if name in texts and tag in _SURE]
    return all(_all(pc.match_substring_regex(each, pattern)) for each, pattern in checked)


def _all(values: pyarrow.Array) -> bool:
    import pyarrow.compute as pc

    return pc.all(values, skip_nulls=False, min_count=0).as_py() is True
