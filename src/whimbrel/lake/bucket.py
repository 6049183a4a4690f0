"""Exports that lie in S3, copied into the lake: ``s3://bucket/path`` to ``s3/<bucket>/<path>``, where SQL finds it too.

What is there with the size and the time that it has in the bucket is not fetched again: of a chain of exports only what
is new.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from whimbrel.durable import publish
from whimbrel.dynamodb.session import open_service, translate
from whimbrel.errors import Stopped, UserError
from whimbrel.lake.inside import child
from whimbrel.project import Target

SCHEME = "s3://"
_PART = ".part"  # what the name of a copy ends with until it is whole


def fetch(target: Target, address: str, folder: Path, stop: threading.Event | None = None) -> Path:
    """Copy what is at or below the ``address`` into the lake's ``folder``; where it is there.

    ``target`` says region, profile, and the endpoint of S3 where it is not that of AWS. It may be repeated after a
    stop. Raises UserError where there is nothing, RequestRefused, PrivilegeError, TargetUnreachable, Stopped.
    """
    bucket, _, path = address.removeprefix(SCHEME).partition("/")
    path = path.strip("/")
    root = child(folder / "s3", bucket)
    here = root / _safe(path, address) if path else root
    client, found = open_service(target, "s3"), set[Path]()
    try:
        for each in _listed(client, bucket, path):
            if stop and stop.is_set():
                raise Stopped("asked to stop before the export was copied", place=address)
            found.add(root / _safe(each["Key"], address))
            _copy(client, bucket, each, root, root / _safe(each["Key"], address))
    except (Stopped, UserError, OSError):
        raise
    except Exception as error:
        translate(error, address)
    if not found:
        raise UserError("nothing lies there", place=address, hint="Name the bucket and the export's prefix.")
    _refuse_stale(here, found, address)
    return here


def _refuse_stale(here: Path, found: Collection[Path], address: str) -> None:
    """What is here is read. Raises UserError for a file that is not in the bucket; the rest of a stopped copy goes."""
    files = [path for path in (here.rglob("*") if here.is_dir() else ()) if not path.is_dir() and path not in found]
    for path in files:
        if path.suffix != _PART:
            message = f"{path} is a copy of what is no longer there, and would be read too"
            raise UserError(message, place=address, hint=f"Remove it, or all of {here}.")
        path.unlink()


def _listed(client: Any, bucket: str, path: str) -> Iterator[dict[str, Any]]:
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=path):
        for each in page.get("Contents", ()):
            key = each["Key"]
            if not key.endswith("/") and (not path or key == path or key.startswith(f"{path}/")):
                yield each


def _copy(client: Any, bucket: str, found: dict[str, Any], root: Path, path: Path) -> None:
    """The order matters: the data is durable before it has its name."""
    from boto3.s3.inject import download_fileobj  # in parts, several at once

    if not path.resolve().is_relative_to(root.resolve()):
        raise UserError("a link leads out of the bucket's folder", place=str(path), hint="Remove the link.")
    moment = found["LastModified"].timestamp()
    if path.exists() and (path.stat().st_size, path.stat().st_mtime) == (found["Size"], moment):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + _PART)
    with part.open("wb") as file:
        download_fileobj(client, bucket, found["Key"], file)
        file.flush()
        os.utime(part, (moment, moment))
        publish(file, path)


def _safe(key: str, address: str) -> PurePosixPath:
    """A key is any text; one that would leave the folder, or be the same file as another key, is refused."""
    path = PurePosixPath(key)
    if path.is_absolute() or ".." in path.parts or "\0" in key or str(path) != key:
        message = f"the key {key!r} cannot be the path of a file inside of its bucket's folder"
        raise UserError(message, place=address, hint="Copy the objects that you need under other keys.")
    return path
