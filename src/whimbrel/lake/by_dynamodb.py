"""Exports that DynamoDB writes into the lake's bucket by itself: ``[lake] export = "native"``.

What is asked for is in the bucket before it is asked, in ``exports/<table>/asked.json``: the kind, the window, and a
token that makes the call one call however often it is repeated. So whichever machine runs next follows the export that
is under way, and no window is asked for twice. A finished export becomes a part of the chain as any other.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from whimbrel.dynamodb.exports import (
    Exported,
    RecoveryWindow,
    begin_export,
    begun_with,
    followed,
    recovery_window,
    switch_on_recovery,
)
from whimbrel.dynamodb.session import open_client
from whimbrel.errors import Locked, LogCorrupt, NotYet, RequestRefused, StateError, UserError
from whimbrel.lake.applied import AppliedUpTo
from whimbrel.lake.chain_file import Chain, continued
from whimbrel.lake.export import ExportedTable
from whimbrel.lake.manifest import iso, read_time
from whimbrel.lake.native import FOLDER, SUMMARY, Export
from whimbrel.lake.shared_exports import SharedExports
from whimbrel.project import Project, Target

LEAST, MOST = timedelta(minutes=15), timedelta(hours=24)  # that an incremental export may cover
TOKEN_HOURS = 7  # DynamoDB knows a token for eight
VIEW = "NEW_IMAGE"
_NOTHING = b"nothing "
CERTAIN_AFTER = timedelta(minutes=5)  # what a clock of ours and DynamoDB's may differ by, and its exports be inexact


@dataclass(frozen=True, slots=True)
class AskedExport:
    """``since`` and ``until`` are "" for a full export. ``arn`` is "" until DynamoDB has answered."""

    token: str
    table_id: str
    since: str
    until: str
    at: str
    arn: str = ""


class ByDynamoDB:
    """The exports of one table, made by DynamoDB into the bucket of ``shared``."""

    def __init__(
        self,
        project: Project,
        table: ExportedTable,
        shared: SharedExports,
        applied: AppliedUpTo | None,
        stop: threading.Event,
    ) -> None:
        """``applied`` is up to where the table is written now."""
        self._client, self._table, self._shared, self._stop = open_client(project.target), table, shared, stop
        self._owner = project.lake.bucket_owner
        self._applied = (iso(_now()), applied)

    def full(self, *, recovery: bool) -> Export:
        """The whole table as it is now. ``recovery``: point-in-time recovery is switched on where it is off.

        Raises UserError where it is off, RequestRefused where the export has failed, Locked where another process makes
        one of another kind, Stopped, and what reading the bucket raises.
        """
        self._window(recovery)
        asked, chain = self._under_way()
        if asked and asked.since:
            raise self._busy(asked)
        return self._made(asked or self._ask("", ""), chain)

    def changes(self, *, or_last: bool) -> list[Export]:
        """What changed since the last export, in windows that leave no gap. Raises as ``full`` does, and UserError
        where DynamoDB no longer has what changed since, or the last export is less than LEAST ago; ``or_last``: then it
        is that one.
        """
        window, made = self._window(False), list[Export]()
        asked, chain = self._under_way()
        if asked and not asked.since:
            raise self._busy(asked)
        chain = continued(chain, self._table.id, self._table.name)
        if asked:
            made.append(self._made(asked, chain))
            chain = replace(chain, last=made[-1].id, as_of=made[-1].as_of)
        while times := self._next(chain, window, enough=or_last or bool(made)):
            made.append(self._made(self._ask(*times), chain))
            chain = replace(chain, last=made[-1].id, as_of=made[-1].as_of)
        return made or [self._shared.found(chain.last)]

    def _window(self, recovery: bool) -> RecoveryWindow:
        name = self._table.name
        window = recovery_window(self._client, name, self._stop.wait)
        if window is None and recovery:
            window = switch_on_recovery(self._client, name, self._stop.wait)
        if window is None:
            raise _is_off(name)
        return window

    def _next(self, chain: Chain, window: RecoveryWindow, *, enough: bool) -> tuple[str, str] | None:
        """The next window, in whole seconds: it begins no later than the last one ended. None where it would be too
        short and there is ``enough``.
        """
        last, latest = read_time(chain.as_of), _whole(window.latest)
        since = _whole(last) if _whole(last) >= window.earliest else last
        if last < window.earliest:
            message = f"the last export is as of {chain.as_of}, and DynamoDB has changes since {iso(window.earliest)}"
            hint = f"Make a full export: whimbrel export {self._table.name} --full"
            raise UserError(message, place=self._table.name, hint=hint)
        left = latest - since
        if left < LEAST:
            if enough:
                return None
            when = iso(since + LEAST)
            message = f"the last export is as of {chain.as_of}, and DynamoDB exports the changes of 15 minutes at least"
            hint = f"Run it again after {when}, and some minutes. To read the table itself: --compare"
            raise NotYet(message, place=self._table.name, hint=hint)
        if left > MOST:
            left = MOST if left >= MOST + LEAST else left - LEAST  # what is then left is long enough, too
        return iso(since), iso(since + left)

    def _under_way(self) -> tuple[AskedExport | None, Chain | None]:
        """What is asked for and not yet in the chain, and that. The chain is read last: whoever asks for what follows
        it, asks in place of what was read first, so nobody can have added to it meanwhile.
        """
        asked, chain = _read(self._shared.asked()), self._shared.look()
        if asked is None:
            return None, chain
        if asked.table_id != self._table.id or (chain and _id_of(asked.arn) in chain.exports):
            self._done()
            return None, chain
        if not asked.arn and datetime.now(UTC) - read_time(asked.at) > timedelta(hours=TOKEN_HOURS):
            arn = begun_with(self._client, self._table.arn, asked.token, self._table.name, self._stop.wait)
            if not arn:  # it was never begun; a token that is forgotten might begin it twice
                self._done()
                return None, chain
            asked = replace(asked, arn=arn)
        return asked, chain

    def _done(self) -> None:
        """Nothing is asked for: a record of its own, so that no other one can be taken for it."""
        self._shared.ask(_NOTHING + secrets.token_hex(8).encode())

    def _ask(self, since: str, until: str) -> AskedExport:
        asked = AskedExport(secrets.token_hex(16), self._table.id, since, until, iso(datetime.now(UTC)))
        self._shared.ask(_bytes(asked))
        return asked

    def _made(self, asked: AskedExport, chain: Chain | None) -> Export:
        """The export, finished and in the chain. The order matters: token, call, ARN, end, chain."""
        try:
            if not asked.arn:
                arn = begin_export(self._client, self._request(asked), self._table.name, self._stop.wait)
                asked = replace(asked, arn=arn)
                self._shared.ask(_bytes(asked))
            done = followed(self._client, asked.arn, self._table.name, self._stop.wait)
        except (RequestRefused, UserError):
            self._done()  # the next run begins a new one
            raise
        try:
            export = self._shared.found(done.id)
            self._check(export, done, asked, chain)
        except StateError:
            self._done()  # it will never be a part of the chain
            raise
        at, now = self._applied
        later = Chain(self._table.id, self._table.key, export.id, export.as_of, applied=now, applied_at=at)
        export = replace(export, applied=export.applied or self._applied_before(export, chain))
        self._shared.commit_there(export, later)
        self._done()
        return export

    def _applied_before(self, export: Export, chain: Chain | None) -> AppliedUpTo | None:
        """Up to where the table was certainly written at the export's time: it ends some minutes ago, and what is known
        of now says nothing of then. So it is what the run before this one knew, unless DynamoDB took long.
        """
        known = [self._applied, *([(chain.applied_at, chain.applied)] if chain and chain.applied_at else [])]
        ends = read_time(export.as_of) - CERTAIN_AFTER
        return next((applied for at, applied in known if applied and read_time(at) <= ends), None)

    def _request(self, asked: AskedExport) -> dict[str, Any]:
        store, prefix = self._shared.store, self._shared.prefix
        request: dict[str, Any] = {
            "TableArn": self._table.arn,
            "S3Bucket": store.bucket,
            "S3Prefix": prefix,
            "ClientToken": asked.token,
            "ExportFormat": "DYNAMODB_JSON",
            "ExportType": "INCREMENTAL_EXPORT" if asked.since else "FULL_EXPORT",
        }
        if self._owner:
            request["S3BucketOwner"] = self._owner
        if asked.since:
            times = {"ExportFromTime": read_time(asked.since), "ExportToTime": read_time(asked.until)}
            request["IncrementalExportSpecification"] = {**times, "ExportViewType": VIEW}
        return request

    def _check(self, export: Export, done: Exported, asked: AskedExport, chain: Chain | None) -> None:
        """That it is the one that was asked for, and newer than the chain. Raises LogCorrupt, Locked."""
        wanted = f"{self._shared.prefix}/{FOLDER}/{done.id}/{SUMMARY}"
        reason = ""
        if done.manifest != wanted:
            reason = f"its manifest is at {done.manifest}, not at {wanted}"
        elif export.items != done.items:
            reason = f"its manifest counts {export.items} items, DynamoDB {done.items}"
        elif bool(export.since) != bool(asked.since):
            reason = f"it is a {export.kind}, which was not asked for"
        elif export.table_id != self._table.id:
            reason = f"it is of a table with the id {export.table_id!r}, and the table's is {self._table.id!r}"
        elif chain and export.since > chain.as_of:
            reason = f"it begins at {export.since}, after the last export, which is as of {chain.as_of}"
        if chain and export.as_of <= chain.as_of:
            message = f"it ends at {export.as_of}, and another process has exported the table as of {chain.as_of}"
            raise Locked(message, place=self._shared.url(export), hint="Run the same command again.")
        if reason:
            raise LogCorrupt(reason, place=self._shared.url(export), hint="Make a full export (--full).")

    def _busy(self, asked: AskedExport) -> Locked:
        kind = "an incremental" if asked.since else "a full"
        hint = f"Follow it first: whimbrel export {self._table.name}{'' if asked.since else ' --full'}"
        return Locked(f"DynamoDB makes {kind} export of it since {asked.at}", place=self._table.name, hint=hint)


def make_by_dynamodb(
    project: Project,
    table: ExportedTable,
    shared: SharedExports,
    *,
    full: bool,
    or_last: bool,
    applied: AppliedUpTo | None,
    stop: threading.Event,
    on_items: Callable[[int], None],
) -> list[Export]:
    """A ``full`` export, or without gaps what changed since the last one; ``or_last`` as ``changes`` has it."""
    by = ByDynamoDB(project, table, shared, applied, stop)
    made = [by.full(recovery=project.lake.recovery)] if full else by.changes(or_last=or_last)
    on_items(sum(each.items for each in made))
    return made


def prove_recovery(target: Target, table: ExportedTable, *, recovery: bool) -> None:
    """Raises UserError where point-in-time recovery is off, and an export would not switch it on (``recovery``)."""
    if not recovery and recovery_window(open_client(target), table.name, threading.Event().wait) is None:
        raise _is_off(table.name)


def _is_off(table: str) -> UserError:
    hint = "Switch it on, or set recovery = true in [lake]. It costs by the table's size."
    return UserError("point-in-time recovery is off, and DynamoDB exports only with it", place=table, hint=hint)


def _now() -> datetime:
    return datetime.now(UTC)


def _whole(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(microsecond=0)


def _id_of(arn: str) -> str:
    return arn.rpartition("/export/")[2]


def _bytes(asked: AskedExport) -> bytes:
    return orjson.dumps(asdict(asked)) + b"\n"


def _read(data: bytes) -> AskedExport | None:
    """None where nothing is asked for."""
    try:
        return None if data.startswith(_NOTHING) or not data else AskedExport(**orjson.loads(data))
    except (ValueError, TypeError) as error:
        raise LogCorrupt(f"not a record of an export: {error}", place="asked.json", hint="Remove it.") from error
