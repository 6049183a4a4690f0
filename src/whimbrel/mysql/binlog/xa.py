"""XA transactions in the binlog: prepared in one place, committed in another, perhaps never."""

from __future__ import annotations

import struct
from enum import Enum, auto

from whimbrel.errors import UndecodableEvent
from whimbrel.mysql.binlog.refused import START_OVER


class Step(Enum):
    BEGIN = auto()
    COMMIT = auto()
    ROLLBACK = auto()
    OTHER = auto()


class XA:
    """Which transactions without Changes may be committed later. Others are refused when they are prepared."""

    def __init__(self) -> None:
        self._prepared: set[str] = set()

    def prepare(self, event: bytes, *, changes: bool) -> None:
        """An XA PREPARE event; ``changes``: its transaction has Changes. Raises UndecodableEvent."""
        one_phase, form, gtrid, bqual = struct.unpack_from("<BIII", event, 19)
        if one_phase:
            return
        xid = f"X'{event[32 : 32 + gtrid].hex()}',X'{event[32 + gtrid : 32 + gtrid + bqual].hex()}',{form}"
        if changes:
            raise UndecodableEvent(
                f"an XA transaction with changes of a captured table was prepared, to be committed later: {xid}",
                hint=f"Let the application commit in one phase. {START_OVER}",
            )
        self._prepared.add(xid)

    def step(self, sql: str, *, changes: bool) -> Step:
        """An XA statement. Raises UndecodableEvent for the commit of what was prepared before the start."""
        _, verb, *rest = sql.split(None, 2)
        verb = verb.upper()
        if verb in ("START", "BEGIN"):
            return Step.BEGIN
        if verb not in ("COMMIT", "ROLLBACK"):
            return Step.OTHER
        xid = "".join(rest).strip().removesuffix("ONE PHASE").strip()
        if verb == "COMMIT" and not changes and xid not in self._prepared:
            raise UndecodableEvent(
                f"XA COMMIT {xid}, and what it commits was prepared before the start",
                hint="Start over with a new snapshot while XA RECOVER shows no transaction.",
            )
        self._prepared.discard(xid)
        return Step[verb]
