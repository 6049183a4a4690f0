"""Exports written by the tests themselves, line by line, and items of every kind."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from whimbrel.lake import datasets
from whimbrel.lake.convert import Converted, ConvertRules, from_files
from whimbrel.lake.sources import find

TABLE_ARN = "arn:aws:dynamodb:eu-north-1:123456789123:table/test"


def write_lines(path: Path, lines: Iterable[Any], packed: bool = False) -> Path:
    data = b"".join((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in lines)
    path.write_bytes(gzip.compress(data) if packed else data)
    return path


def compact(value: Any) -> bytes:
    """JSON as DynamoDB writes it: no blanks, UTF-8."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def write_export(
    root: Path,
    export_id: str,
    as_of: str,
    lines: Sequence[Any],
    since: str = "",
    files: int = 2,
    view: str = "NEW_AND_OLD_IMAGES",
    prefix: str = "",
    form: str = "json",
    arn: str = TABLE_ARN,
    table_id: str = "cf263806",
    write: Callable[[Any], bytes] = compact,
) -> Path:
    """A native export as DynamoDB makes it, written from the documentation and not by our own code.

    ``prefix`` is what stood before AWSDynamoDB in the bucket that it was copied from.
    """
    folder = root / "AWSDynamoDB" / export_id
    data = root / "AWSDynamoDB" / "data" if since else folder / "data"
    for each in (folder, data):
        each.mkdir(parents=True, exist_ok=True)
    (folder / "_started").touch()
    listed = b""
    for number in range(files):
        name = f"{export_id[-8:]}{number:018d}.{form}.gz"
        key = f"{prefix}AWSDynamoDB/{'' if since else export_id + '/'}data/{name}"
        listed += compact(write_data_file(data / name, [write(line) for line in lines[number::files]], key)) + b"\n"
    summary = _summary(export_id, as_of, len(lines), since, view, prefix, form, (arn, table_id))
    for name, content in (("manifest-files", listed), ("manifest-summary", compact(summary))):
        (folder / f"{name}.json").write_bytes(content)
        (folder / f"{name}.md5").write_bytes(base64.b64encode(hashlib.md5(content).digest()))
    return folder


def _summary(
    export_id: str, as_of: str, count: int, since: str, view: str, prefix: str, form: str, table: tuple[str, str]
) -> dict[str, Any]:
    arn, table_id = table
    times = {"exportFromTime": since, "exportToTime": as_of} if since else {"exportTime": as_of}
    summary = {
        "version": "2023-08-01" if since else "2020-06-30",
        "exportArn": f"{arn}/export/{export_id}",
        "startTime": as_of,
        "endTime": as_of,
        "tableArn": arn,
        "tableId": table_id,
        **times,
        "s3Bucket": "b",
        "s3Prefix": prefix or None,
        "s3SseAlgorithm": "AES256",
        "s3SseKmsKeyId": None,
        "manifestFilesS3Key": f"{prefix}AWSDynamoDB/{export_id}/manifest-files.json",
        "billedSizeBytes": 0,
        "itemCount": count,
        "outputFormat": "ION" if form == "ion" else "DYNAMODB_JSON",
    }
    if since:
        summary |= {"outputView": view, "exportType": "INCREMENTAL_EXPORT"}
    return summary


def write_data_file(file: Path, lines: list[bytes], key: str) -> dict[str, Any]:
    """Write it, and what manifest-files.json says of it; ``key`` is its name in the bucket."""
    packed = gzip.compress(b"".join(line + b"\n" for line in lines))
    file.write_bytes(packed)
    md5 = hashlib.md5(packed).digest()
    return {
        "itemCount": len(lines),
        "md5Checksum": base64.b64encode(md5).decode(),
        "etag": hashlib.md5(md5).hexdigest() + "-1",
        "dataFileS3Key": key,
    }


def full(**attributes: Any) -> dict[str, Any]:
    return {"Item": attributes}


def change(
    keys: dict[str, Any], new: dict[str, Any] | None, old: dict[str, Any] | None = None, micros: Any = None
) -> dict[str, Any]:
    """A line of an incremental export, its parts in DynamoDB's order; ``old`` under NEW_AND_OLD_IMAGES only."""
    line: dict[str, Any] = {"Metadata": {"WriteTimestampMicros": micros or {"N": "1768386096366933"}}, "Keys": keys}
    line |= {"OldImage": keys | old} if old is not None else {}
    return line | ({"NewImage": keys | new} if new is not None else {})


# Values as DynamoDB takes them: numbers of 38 digits, sets without a member twice and never empty, any nesting.
texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=20)
names = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)
numbers = st.one_of(
    st.integers(-(10**38) + 1, 10**38 - 1).map(str),
    st.decimals(allow_nan=False, allow_infinity=False, places=5, min_value=-(10**20), max_value=10**20).map(
        lambda value: format(value.normalize(), "f")
    ),
    st.sampled_from(["0", "1e-100", "9.9e120", "12345678901234567890123456789012345678", "0.1", "-7.25"]),
)
binaries = st.binary(min_size=1, max_size=20).map(lambda value: base64.b64encode(value).decode())
scalars = st.one_of(
    texts.map(lambda value: {"S": value}),
    numbers.map(lambda value: {"N": value}),
    binaries.map(lambda value: {"B": value}),
    st.booleans().map(lambda value: {"BOOL": value}),
    st.just({"NULL": True}),
    st.lists(texts.filter(bool), min_size=1, max_size=3, unique=True).map(lambda value: {"SS": value}),
    st.lists(st.integers(-(10**10), 10**10).map(str), min_size=1, max_size=3, unique=True).map(
        lambda value: {"NS": value}
    ),
    st.lists(binaries, min_size=1, max_size=3, unique=True).map(lambda value: {"BS": value}),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda value: {"L": value}),
        st.dictionaries(names, inner, max_size=3).map(lambda value: {"M": value}),
    ),
    max_leaves=6,
)
# The same few names again and again, so that attributes have values of several types.
items = st.dictionaries(st.one_of(st.sampled_from(["a", "b", "A", "c d", "é"]), names), values, max_size=5)


RULES = ConvertRules("t", "t", ("pk",))
ITEMS: dict[str, dict[str, Any]] = {
    "1": {
        "pk": {"S": "1"},
        "text": {"S": 'quote " brace } bracket ] \\ tab\t line\n snow ☃ 𝄞 \x7f'},
        "n": {"N": "-12345678901234567890.123456789012345678"},
        "b": {"B": "AAEC/w=="},
        "yes": {"BOOL": False},
        "nothing": {"NULL": True},
        "m": {"M": {"empty": {"S": ""}, "a.b": {"L": [{"N": "1"}, {"M": {"x": {"S": "}"}}}]}}},
        "l": {"L": []},
        "ss": {"SS": ["a", "ä"]},
        "ns": {"NS": ["1", "2.5"]},
        "bs": {"BS": ["AAEC"]},
    },
    "2": {"pk": {"S": "2"}, "n": {"N": "6E+2"}},
    "3": {"pk": {"S": "3"}, "Items": {"L": [{"S": "["}]}, "Count": {"N": "7"}},
}


def converted(tmp_path: Path, file: Path, rules: ConvertRules = RULES) -> Converted:
    return from_files(tmp_path / "lake", rules, find(file).files)


def rows(tmp_path: Path) -> list[dict[str, Any]]:
    lake = tmp_path / "lake"
    found: list[dict[str, Any]] = datasets.arrow(lake, datasets.current(lake, "t")).to_pylist()
    return found


def scan_text(found: list[Any], **more: Any) -> str:
    return json.dumps({"Items": found, "Count": len(found), "ScannedCount": len(found)} | more, indent=4)
