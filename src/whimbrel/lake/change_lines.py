"""Changes of an incremental export, many lines at once: PyArrow parses them, under a structure that has nothing but the
scalars of known attributes.

They count only if they account for every byte. What was read takes so many bytes at least, in JSON without blanks;
where the lines have no more, there is nothing else in them. So one sum is proof of all lines.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
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
    time = pc.struct_field(rows["Metadata"].combine_chunks(), ["WriteTimestampMicros", "N"])
    accounted = count * _FRAME + _bytes([time])
    images = {name: _texts(rows[name], plan) for name in ("Keys", "OldImage", "NewImage")}
    for name, texts in images.items():
        there = count - rows[name].null_count
        accounted += _bytes_of(texts, plan, there) + (there * len(f',"{name}":') if name != "Keys" else 0)
    keys, new = images["Keys"], images["NewImage"]
    if not (
        accounted + (count - 1) == len(text)
        and len(keys) == len(key)
        and not any(each.null_count for each in (time, *keys.values()))
        and pc.all(pc.match_substring_regex(time, "^[0-9]+$")).as_py()
        and all(_same_where_there(new[name], keys[name], rows["NewImage"]) for name in key if new)
        and _are_surely_right(images.values(), plan)
    ):
        return None
    columns = [keys[name] if name in key else new.get(name, pa.nulls(count, pa.string())) for name, _ in plan]
    return pa.RecordBatch.from_arrays(columns, [name for name, _ in plan]), rows["NewImage"].is_null().to_pylist()


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


def _same_where_there(texts: pyarrow.Array, others: pyarrow.Array, images: pyarrow.ChunkedArray) -> bool:
    import pyarrow.compute as pc

    same = pc.equal(texts, others)  # NULL where an image is not there, or has no such attribute
    return texts.null_count == images.null_count and pc.all(same).as_py() is not False


def _texts(images: pyarrow.ChunkedArray, plan: Plan) -> Texts:
    """Of each attribute that they may have; {} if none of the changes has the image."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if images.null_count == len(images):
        return {}
    whole = images.combine_chunks()
    there = {field.name for field in whole.type}
    found = {name: pc.struct_field(whole, [name, tag]) for name, tag in plan if name in there}
    return {name: each.cast(pa.string()) if each.type == pa.bool_() else each for name, each in found.items()}


def _bytes_of(texts: Texts, plan: Plan, images: int) -> int:
    """What so many images take: ``{"name":{"S":"text"},"other":{"N":"1"}}``, none of them empty."""
    size = images * len("{}") + _bytes(texts.values())
    for name, tag in plan:
        if name in texts:
            around = len(orjson.dumps(name)) + len(':{"":},') + len(tag) + (0 if tag == "BOOL" else len('""'))
            size += (len(texts[name]) - texts[name].null_count) * around
    return size - images  # the last of each has no comma behind it


def _bytes(texts: Iterable[pyarrow.Array]) -> int:
    import pyarrow.compute as pc

    return pc.sum(pc.binary_length(_all_of(texts))).as_py() or 0


def _are_surely_right(images: Iterable[Texts], plan: Plan) -> bool:
    """Numbers and base64, of the forms that nearly all have."""
    import pyarrow.compute as pc

    for kind, pattern in _SURE.items():
        found = [image[name] for image in images for name, tag in plan if tag == kind and name in image]
        if pc.any(pc.invert(pc.match_substring_regex(_all_of(found), pattern))).as_py():
            return False
    return True


def _all_of(texts: Iterable[pyarrow.Array]) -> pyarrow.ChunkedArray:
    import pyarrow as pa

    return pa.chunked_array(list(texts), pa.string())
