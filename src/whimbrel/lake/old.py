"""The format of AWS Data Pipeline and EMR (``DynamoDBExport``), as the post's pipeline wrote it.

One item a line, without ``Item`` around it, its types in lower case (``{"age":{"n":"56"}}``), read in any case; gzip or
not. Even older exports have ``name^C{"s":"…"}`` pairs with ^B between them (0x02 and 0x03) and no braces. A folder has
a ``manifest`` that names its files, or none: then every file in it belongs to the export.

Source: awslabs/emr-dynamodb-connector (DynamoDBItemWritable, AttributeValueDeserializer, ExportManifestOutputFormat).
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import orjson

from whimbrel.errors import LogCorrupt, StateError, UserError
from whimbrel.lake.inside import read_small, regular_inside
from whimbrel.lake.items import TAGS, BadLine, check_item, load_json, shown
from whimbrel.project.section import is_plain_name
from whimbrel.records import Item

MANIFEST = "manifest"
_TAGS = {tag.lower(): tag for tag in TAGS} | {"nullvalue": "NULL"}
_MOST_MANIFEST = 64 << 20  # bytes
_PAIRS, _NAME = b"\x02", b"\x03"


def data_files(folder: Path) -> list[Path]:
    """The files of an export in this format. Raises StateError when one that the manifest names is not there."""
    manifest = folder / MANIFEST
    if not manifest.exists():
        return _all_files(folder)
    try:
        entries = orjson.loads(read_small(manifest, folder, _MOST_MANIFEST))["entries"]
        names = [str(entry["url"]).rpartition("/")[2] for entry in entries]
        times = Counter(names)
        if wrong := [name for name in names if not is_plain_name(name) or times[name] > 1]:
            raise ValueError(f"{wrong[0]!r} is listed twice, or is not the name of a file")
    except (ValueError, KeyError, TypeError) as error:
        raise LogCorrupt(f"not a manifest: {error!r}", place=str(manifest), hint="Copy the export again.") from error
    paths = [folder / name for name in names]
    for path in paths:
        if not path.exists():
            raise StateError("the manifest lists it, but it is missing", place=str(path), hint="Copy the export again.")
    return [regular_inside(path, folder) for path in paths]


def _all_files(folder: Path) -> list[Path]:
    paths = sorted(path for path in folder.iterdir() if path.name[0] not in "_.")
    files = [regular_inside(path, folder) for path in paths if not path.is_dir()]
    if files and len(files) < len(paths):
        deeper = next(path for path in paths if path.is_dir())
        message = "a folder among the export's files: its files would be left out"
        raise UserError(message, place=str(deeper), hint="Name one folder of files, or put all files into one.")
    return files


def read_line(line: bytes) -> Item:
    """The item in ``line``, with DynamoDB's own tags. Raises BadLine."""
    text = line.strip()
    plain = load_json(text) if text.startswith(b"{") else _read_pairs(text)
    if not isinstance(plain, dict):
        raise BadLine(f"an item must be an object, not {shown(plain)}")
    return check_item({name: _upper(value) for name, value in plain.items()})


def _read_pairs(text: bytes) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for pair in text.split(_PAIRS):
        name, separator, value = pair.partition(_NAME)
        if not separator:
            raise BadLine(f"{shown(pair.decode('utf-8', 'replace'))} is not a name and a value with ^C between them")
        try:
            spelled = name.decode().strip()
        except UnicodeDecodeError:
            raise BadLine("a name is not UTF-8") from None
        if spelled in found:
            raise BadLine(f"the name {spelled!r} occurs twice")
        found[spelled] = load_json(value)
    return found


def _upper(value: Any) -> Any:
    """The value under DynamoDB's own tag; what is not a tagged value stays as it is and is refused by check_item."""
    if not isinstance(value, dict) or len(value) != 1:
        return value
    ((spelled, content),) = value.items()
    tag = _TAGS.get(spelled.lower(), spelled)
    if tag == "M" and isinstance(content, dict):
        content = {name: _upper(each) for name, each in content.items()}
    elif tag == "L" and isinstance(content, list):
        content = [_upper(each) for each in content]
    return {tag: content}
