"""What the next incremental export of a table continues from: ``exports/<table>/chain.json``."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import orjson

from whimbrel.durable import replace_file
from whimbrel.errors import LogCorrupt, UserError
from whimbrel.lake.applied import AppliedUpTo, from_fields
from whimbrel.lake.inside import child

CHAIN = "chain.json"


@dataclass(frozen=True, slots=True)
class Chain:
    """The last export; of a stream, each shard's last change; of a lake in S3, the ids of all exports in order.

    ``applied`` is up to where the table was written ``applied_at`` a time, when the last export began.
    """

    table_id: str
    key: tuple[tuple[str, str], ...]
    last: str
    as_of: str
    stream: str = ""
    positions: dict[str, str] = field(default_factory=dict)
    exports: tuple[str, ...] = ()
    applied: AppliedUpTo | None = None
    applied_at: str = ""


def home(folder: Path, table: str) -> Path:
    """Raises UserError for a name that cannot be a folder's."""
    return child(folder / "exports", table)


def load_chain(place: Path) -> Chain | None:
    """What the last export left; None when there is none."""
    path = place / CHAIN
    return chain_in(path.read_bytes(), str(path)) if path.exists() else None


def continued(chain: Chain | None, table_id: str, table: str) -> Chain:
    """The chain of the table that stands now. Raises UserError where an incremental export cannot continue one."""
    if chain is None or chain.table_id != table_id:
        why = "the table has no full export yet" if chain is None else "the table was recreated after the last export"
        raise UserError(why, place=table, hint=f"Make a full export: whimbrel export {table} --full")
    return chain


def chain_in(data: bytes, place: str) -> Chain:
    """Raises LogCorrupt."""
    try:
        values = orjson.loads(data)
        values["key"] = tuple((name, kind) for name, kind in values["key"])
        values["applied"] = from_fields(values.get("applied"))
        return Chain(**(values | {"exports": tuple(values.get("exports", ()))}))
    except (ValueError, KeyError, TypeError) as error:
        raise LogCorrupt(f"not a chain: {error}", place=place, hint="Make a full export (--full).") from error


def save_chain(place: Path, chain: Chain) -> None:
    replace_file(place / CHAIN, chain_bytes(chain))


def chain_bytes(chain: Chain) -> bytes:
    fields = asdict(replace(chain, applied=None)) | {"applied": chain.applied.as_fields() if chain.applied else None}
    return orjson.dumps(fields, option=orjson.OPT_INDENT_2) + b"\n"
