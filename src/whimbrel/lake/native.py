"""The layout of DynamoDB's native export to S3 (ExportTableToPointInTime), written and read.

Source: "DynamoDB table export output format" in Amazon's developer guide, and exports made by DynamoDB itself, whose
spelling (order of keys, checksums in .md5 files, no final newline in the summary) is kept. Under a root:

    AWSDynamoDB/<ExportId>/{_started, manifest-summary.json, manifest-summary.md5, manifest-files.json, …md5}
    AWSDynamoDB/<ExportId>/data/<26 letters and digits>.json.gz       a full export's data
    AWSDynamoDB/data/<26 letters and digits>.json.gz                  the data of all incremental exports of the root

So which file belongs to which export stands in manifest-files.json alone; ``data/`` is never searched.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

import orjson

from whimbrel.bucket import BucketFile
from whimbrel.durable import publish, replace_file
from whimbrel.errors import LogCorrupt, StateError, UserError
from whimbrel.lake.applied import FILE as APPLIED
from whimbrel.lake.applied import AppliedUpTo, read_applied, to_bytes
from whimbrel.lake.inside import open_regular, read_small, regular_inside
from whimbrel.lake.manifest import iso, read_time
from whimbrel.project.section import is_plain_name

FOLDER = "AWSDynamoDB"
SUMMARY, FILES = "manifest-summary.json", "manifest-files.json"
FULL, INCREMENTAL = "FULL_EXPORT", "INCREMENTAL_EXPORT"
VIEWS = ("", "NEW_IMAGE", "NEW_IMAGES", "NEW_AND_OLD_IMAGES")  # "": a full export has none
JSON_FORMAT, ION_FORMAT = "DYNAMODB_JSON", "ION"
_LEVEL = 4  # of gzip: 6 makes 5 % smaller files for twice the time
_MOST_SUMMARY, _MOST_FILES = 1 << 20, 1 << 30  # bytes of the two manifests
_HINT = "Copy the export again, whole, with the folder names that it had in the bucket."


class ExportedFile(NamedTuple):
    """A data file as manifest-files.json lists it. ``key`` is its name in the bucket."""

    items: int
    md5: str
    etag: str
    key: str


class Stored(NamedTuple):
    """A data file that is in S3. ``md5`` is that of its manifest, in base 64."""

    file: BucketFile
    size: int  # bytes
    md5: str

    def fetch(self, into: IO[bytes], most: int = 0) -> None:
        """Write it into an empty file, or its first ``most`` bytes. Raises LogCorrupt for another checksum, StateError
        where it is gone, and what the bucket raises.
        """
        try:
            self.file.bucket.copy(self.file.key, into, most if most < self.size else 0)
        except FileNotFoundError:
            raise StateError("the object is gone", place=str(self.file), hint="Run the same command again.") from None
        if into.tell() == self.size:
            into.seek(0)
            md5 = hashlib.file_digest(into, lambda: hashlib.md5(usedforsecurity=False))  # type: ignore[arg-type]
            _check_md5(md5.digest(), self.md5, str(self.file))
        elif not most:
            raise LogCorrupt("it has another size than the list of objects says", place=str(self.file), hint=_HINT)
        into.flush()


@dataclass(frozen=True, slots=True)
class Export:
    """A finished export: what its two manifests say, and where its data files are on this machine.

    Of a lake in S3 the files are ``stored`` there, and ``paths`` are where they would be.
    ``as_of`` is exportTime or exportToTime, ``since`` exportFromTime ("" for a full export). ``applied`` is up to where
    a migration had written the table, where that was known.
    """

    folder: Path
    id: str
    kind: str
    table: str
    table_id: str
    since: str
    as_of: str
    view: str
    format: str
    items: int
    files: tuple[ExportedFile, ...]
    paths: tuple[Path, ...]
    stored: tuple[Stored, ...] = ()
    applied: AppliedUpTo | None = None


def new_export_id(now: float | None = None) -> str:
    """``01768385930622-efd1a093``: milliseconds since the epoch in 14 digits, and 8 random hex digits."""
    return f"{int((now if now is not None else time.time()) * 1000):014d}-{secrets.token_hex(4)}"


def new_data_name() -> str:
    """26 letters and digits, as base 32 spells 128 random bits."""
    return base64.b32encode(secrets.token_bytes(16)).decode().rstrip("=").lower() + ".json.gz"


class DataWriter:
    """Writes one data file under a temporary name; ``close`` makes it durable and gives it its own."""

    def __init__(self, path: Path, key: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.key, self.items = path, key, 0
        self._part = path.with_name(path.name + ".part")
        self._raw = self._part.open("wb")
        self._gzip = gzip.GzipFile("", "wb", _LEVEL, self._raw, mtime=0)

    def write(self, lines: list[bytes]) -> None:
        """One line for each item, without its end."""
        self.items += len(lines)
        if lines:
            self._gzip.write(b"\n".join(lines) + b"\n")

    def close(self) -> ExportedFile:
        """Durable when it returns. Raises OSError."""
        self._gzip.close()
        publish(self._raw, self.path)
        md5 = file_md5(self.path)
        return ExportedFile(self.items, base64.b64encode(md5).decode(), _etag(md5), self.key)

    def abandon(self) -> None:
        """Leave nothing behind, also where the disk is full; nothing happens if it is closed already."""
        for file in (self._gzip, self._raw):
            with suppress(OSError, ValueError):  # of what it still had to write
                file.close()
        self._part.unlink(missing_ok=True)


def write_manifests(
    folder: Path, summary: dict[str, Any], files: list[ExportedFile], applied: AppliedUpTo | None = None
) -> None:
    """Finish the export in ``folder``: the summary is written last, and is the record that the export is whole."""
    rows = [
        {"itemCount": each.items, "md5Checksum": each.md5, "etag": each.etag, "dataFileS3Key": each.key}
        for each in files
    ]
    if applied:
        replace_file(folder / APPLIED, to_bytes(applied))
    _write_checked(folder / FILES, b"".join(orjson.dumps(row) + b"\n" for row in rows))
    _write_checked(folder / SUMMARY, orjson.dumps(summary))


def full_summary(export_id: str, table_arn: str, table_id: str, times: tuple[str, str], items: int) -> dict[str, Any]:
    """The summary of a full export made between the two ``times`` (ISO 8601). exportTime is the first of them."""
    start, end = times
    head = {"version": "2020-06-30"} | _head(export_id, table_arn, table_id, start, end)
    return head | {"exportTime": start} | _tail(export_id, items)


def incremental_summary(
    export_id: str,
    table_arn: str,
    table_id: str,
    times: tuple[str, str],
    window: tuple[str, str],
    items: int,
    view: str,
) -> dict[str, Any]:
    """The summary of the changes in ``window`` (from, to)."""
    head = {"version": "2023-08-01"} | _head(export_id, table_arn, table_id, *times)
    head |= {"exportFromTime": window[0], "exportToTime": window[1]}
    return head | _tail(export_id, items) | {"outputView": view, "exportType": INCREMENTAL}


def find_exports(place: Path) -> list[Export]:
    """Every finished native export at or under ``place`` (an export's folder, AWSDynamoDB, or what holds it), in the
    order of time. Empty when there is none. Raises LogCorrupt when one is damaged.
    """
    if (place / SUMMARY).exists():
        return [read_export(place)]
    summaries = {
        *place.glob(f"*/{SUMMARY}"),
        *place.glob(f"{FOLDER}/*/{SUMMARY}"),
        *place.glob(f"*/{FOLDER}/*/{SUMMARY}"),
    }
    folders = [regular_inside(path, place).parent for path in sorted(summaries)]
    return sorted(map(read_export, folders), key=lambda each: (each.as_of, each.id))


def read_export(folder: Path, find: Callable[[Path, str], Path] | None = None) -> Export:
    """Read both manifests, compare their checksums, and find every data file; with ``find``, by its key.

    Raises LogCorrupt when a checksum or a count does not fit, StateError when a data file is not there or not inside of
    the export, UserError for an export in a format of its own.
    """
    summary = _read_summary(folder / SUMMARY)
    output = summary.get("outputFormat", JSON_FORMAT)
    if output not in (JSON_FORMAT, ION_FORMAT):
        message = f"the export's format is {output!r}, which whimbrel does not read"
        raise UserError(message, place=str(folder), hint="Export the table again with ExportFormat=DYNAMODB_JSON.")
    files = _read_files(folder / FILES, summary)
    items = _whole(summary["itemCount"])
    if items != sum(each.items for each in files):
        raise LogCorrupt(
            f"{SUMMARY} counts {items} items, {FILES} {sum(each.items for each in files)}",
            place=str(folder),
            hint=_HINT,
        )
    arn = str(summary.get("tableArn", ""))
    return Export(
        folder=folder,
        id=folder.name,
        kind=summary.get("exportType", FULL),
        table=arn.rpartition("/")[2],
        table_id=str(summary.get("tableId", "")),
        since=_time(summary["exportFromTime"]) if summary.get("exportFromTime") else "",
        as_of=_time(summary.get("exportToTime") or summary["exportTime"]),
        view=summary.get("outputView", ""),
        format=output,
        items=items,
        files=files,
        paths=tuple((find or _find_data)(folder, _inside(folder, each.key)) for each in files),
        applied=read_applied(folder),
    )


def check_file(export: Export, number: int) -> None:
    """Compare a data file with its checksum, and its ETag where S3 makes that of the content. Raises LogCorrupt.

    One that is in S3 is compared whenever it is fetched.
    """
    if export.stored:
        return
    listed, path = export.files[number], export.paths[number]
    md5 = file_md5(path)
    _check_md5(md5, listed.md5, str(path))
    if listed.etag.endswith("-1") and listed.etag != _etag(md5):
        raise LogCorrupt("the file does not match the ETag in the export's manifest", place=str(path), hint=_HINT)


def _check_md5(md5: bytes, wanted: str, place: str) -> None:
    if base64.b64encode(md5).decode() != wanted:
        raise LogCorrupt("the file does not match the MD5 in the export's manifest", place=place, hint=_HINT)


def file_md5(path: Path) -> bytes:
    with open_regular(path) as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).digest()


def _etag(md5: bytes) -> str:
    """Of an upload in one part."""
    return hashlib.md5(md5, usedforsecurity=False).hexdigest() + "-1"


def _head(export_id: str, arn: str, table_id: str, start: str, end: str) -> dict[str, Any]:
    export = {"exportArn": f"{arn}/export/{export_id}", "startTime": start, "endTime": end}
    return export | {"tableArn": arn, "tableId": table_id}


def _tail(export_id: str, items: int) -> dict[str, Any]:
    bucket = {"s3Bucket": "whimbrel", "s3Prefix": None, "s3SseAlgorithm": "AES256", "s3SseKmsKeyId": None}
    counted = {"billedSizeBytes": 0, "itemCount": items, "outputFormat": JSON_FORMAT}
    return bucket | {"manifestFilesS3Key": f"{FOLDER}/{export_id}/{FILES}"} | counted


def _write_checked(path: Path, data: bytes) -> None:
    checksum = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest())
    replace_file(path.with_suffix(".md5"), checksum)
    replace_file(path, data)


def _read_summary(path: Path) -> dict[str, Any]:
    data = _read_checked(path, _MOST_SUMMARY)
    try:
        summary: dict[str, Any] = orjson.loads(data)
        _whole(summary["itemCount"])
        _time(summary.get("exportToTime") or summary["exportTime"])
        if summary.get("exportType", FULL) not in (FULL, INCREMENTAL):
            raise ValueError(f"exportType is {summary['exportType']!r}")
        if summary.get("outputView", "") not in VIEWS:
            raise ValueError(f"outputView is {summary['outputView']!r}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LogCorrupt(f"not a summary of an export: {error!r}", place=str(path), hint=_HINT) from error
    return summary


def _read_files(path: Path, summary: dict[str, Any]) -> tuple[ExportedFile, ...]:
    found: list[ExportedFile] = []
    keys: set[str] = set()
    # An ETag is made of the content only where S3 has encrypted it with keys of its own.
    encrypted = summary.get("s3SseAlgorithm") != "AES256"
    for number, line in enumerate(_read_checked(path, _MOST_FILES).splitlines(), 1):
        try:
            row = orjson.loads(line)
            etag = "" if encrypted else _text(row.get("etag", ""))
            listed = ExportedFile(
                _whole(row["itemCount"]), _text(row["md5Checksum"]), etag, _text(row["dataFileS3Key"])
            )
            if listed.key in keys:
                raise ValueError(f"{listed.key} is listed twice")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            place = f"{path}, line {number}"
            raise LogCorrupt(f"not an entry for a data file: {error!r}", place=place, hint=_HINT) from error
        keys.add(listed.key)
        found.append(listed)
    return tuple(found)


def _whole(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is not a count")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a string")
    return value


def _time(value: Any) -> str:
    """In one spelling, so that times can be compared as texts. Raises ValueError."""
    return iso(read_time(_text(value)))


def _read_checked(path: Path, most: int) -> bytes:
    try:
        data = read_small(path, path.parent, most)
        for name in (path.with_suffix(".md5"), path.with_suffix(".checksum")):
            if name.exists():
                wanted = read_small(name, path.parent, _MOST_SUMMARY).decode("ascii", "replace").strip()
                if base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode() != wanted:
                    raise LogCorrupt("the checksum beside it does not match", place=str(path), hint=_HINT)
    except OSError as error:
        raise StateError(f"cannot be read: {error.strerror}", place=str(path), hint=_HINT) from error
    return data


def _inside(folder: Path, key: str) -> str:
    """The key, if it does not lead out of the export. Raises LogCorrupt."""
    *steps, name = key.split("/")
    if ".." in steps or not is_plain_name(name):
        message = f"the data file {key!r} would be outside of the export"
        raise LogCorrupt(message, place=str(folder / FILES), hint=_HINT)
    return key


def _find_data(folder: Path, key: str) -> Path:
    """The file with this name in the bucket: of what is before the name, only the export's own layout counts.

    The export's folder is .../AWSDynamoDB/<ExportId>; its data is in ``data`` there, or beside it.
    """
    name = key.rpartition("/")[2]
    for root in (folder, folder.parent):
        path = root / "data" / name
        if path.exists() or path.is_symlink():
            return regular_inside(path, root)
    raise StateError(f"the data file {key} is missing", place=str(folder), hint=_HINT)
