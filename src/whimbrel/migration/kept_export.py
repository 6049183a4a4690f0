"""The export of one table in a bucket: its files, and its plan, which grows in the state folder and follows in pieces.

A piece is named by the place in the plan where it begins, and each name can be taken once. So of two machines that
continue one export the first to add to its plan goes on, and the other ends by name. ``whole`` adds the plan as one
object, the manifest of an export that is complete::

    <table>/<export>/plan/0000000000000000.jsonl
    <table>/<export>/plan/0000000000001204.jsonl
    <table>/<export>/manifest-0000000000002177.jsonl
    <table>/<export>/chunk-00000001.jsonl.zst
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from pathlib import Path
from urllib.parse import quote

import orjson

from whimbrel.bucket import Bucket, BucketFile
from whimbrel.durable import replace_file, writing
from whimbrel.errors import Locked, LogCorrupt
from whimbrel.mysql.plan import PLAN_FILE

_NO_NAME = "0"  # of an export that whimbrel 0.1.0 began


class KeptExport:
    """Of the source table ``source``, whose plan is in ``folder``."""

    def __init__(self, bucket: Bucket, folder: Path, source: str, sure: Callable[[], object]) -> None:
        """``sure`` raises if another machine has continued the migration."""
        self._bucket = bucket
        self._sure = sure
        self._plan = folder / PLAN_FILE
        self._table = quote(source, safe="")
        self._export = ""
        self._published = 0  # bytes of the plan
        self._planned = 0  # the last chunk that is known to be in them
        self._lock = threading.Lock()

    def file(self, export: str, name: str) -> BucketFile:
        return self._bucket.file(f"{self._place(export)}{name}")

    def begin(self, export: str) -> None:
        """A new one, of which nothing is there."""
        self._export, self._published, self._planned = export, 0, 0

    def take_up(self, export: str) -> None:
        """Before the plan is opened: fetch it where this machine has none. Raises Locked if another machine has added
        to it, LogCorrupt if pieces of it are missing.
        """
        self.begin(export)
        pieces = self._pieces()
        if not pieces:
            return
        last = max(pieces)
        self._published = last + pieces[last][1]
        if not self._plan.exists():
            self._plan.parent.mkdir(parents=True, exist_ok=True)
            with writing(self._plan):
                replace_file(self._plan, self._joined(pieces))
        elif self._plan.read_bytes()[last : self._published] != self._bucket.get(pieces[last][0]):
            raise self._taken()

    def publish(self, chunk: int) -> None:
        """What came to the plan since, as one piece, unless an earlier one has the chunk: chunks are planned ahead, so
        a piece has several. Raises Locked.
        """
        with self._lock:
            self._sure()
            if chunk > self._planned:
                self._planned = max([chunk, *self._put_piece()])

    def _put_piece(self) -> list[int]:
        """The numbers of the chunks that it has."""
        with self._plan.open("rb") as file:
            file.seek(self._published)
            fresh = file.read()
        fresh = fresh[: fresh.rfind(b"\n") + 1]
        if fresh and not self._bucket.put_new(self._piece(self._published), fresh):
            raise self._taken()
        self._published += len(fresh)
        return [orjson.loads(line).get("number", 0) for line in fresh.splitlines()]

    def whole(self) -> None:
        """The plan of an export that is complete, as one object."""
        with self._lock:
            self._sure()
            self._put_piece()
        self._bucket.put_new(f"{self._place(self._export)}manifest-{self._published:016d}.jsonl", self._whole_plan())

    def names(self) -> Collection[str]:
        """Of the files that are there."""
        place = self._place(self._export)
        return {name.removeprefix(place) for name, _ in self._bucket.list(f"{place}chunk-")}

    def remove_others(self) -> None:
        """All that is there of other exports of the table."""
        mine = self._place(self._export)
        self._bucket.remove([name for name, _ in self._bucket.list(f"{self._table}/") if not name.startswith(mine)])

    def _place(self, export: str) -> str:
        return f"{self._table}/{export or _NO_NAME}/"

    def _piece(self, begins: int) -> str:
        return f"{self._place(self._export)}plan/{begins:016d}.jsonl"

    def _pieces(self) -> dict[int, tuple[str, int]]:
        """Name and size of each, by where it begins."""
        place = f"{self._place(self._export)}plan/"
        return {
            int(name.removeprefix(place).removesuffix(".jsonl")): (name, size)
            for name, size in self._bucket.list(place)
        }

    def _joined(self, pieces: dict[int, tuple[str, int]]) -> bytes:
        """From the newest manifest on, which saves a request for each chunk."""
        place = f"{self._place(self._export)}manifest-"
        manifests = sorted(name for name, _ in self._bucket.list(place))
        plan = (self._bucket.get(manifests[-1]) or b"") if manifests else b""
        for begins in sorted(pieces):
            if begins < len(plan):
                continue
            if begins > len(plan):
                break
            plan += self._bucket.get(pieces[begins][0]) or b""
        if len(plan) < self._published:
            hint = f"Remove {self._bucket.url(self._place(self._export))}: the table is then exported again."
            raise LogCorrupt(f"a piece of the plan is missing at byte {len(plan)}", place=str(self._plan), hint=hint)
        return plan

    def _whole_plan(self) -> bytes:
        return self._plan.read_bytes()[: self._published]

    def _taken(self) -> Locked:
        return Locked(
            "another whimbrel has continued this export",
            place=self._bucket.url(self._place(self._export)),
            hint="Continue there. To continue here, end it, and begin here with an empty state folder.",
        )
