"""The project file (``whimbrel.toml``) as one frozen Project; each module gets only its part."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Source:
    """How to reach MySQL or MariaDB, and how gently to read it."""

    host: str
    port: int
    user: str
    database: str
    password: str = field(default="", repr=False)
    socket: str = ""
    tls: str = "preferred"  # off | preferred | required | verify
    tls_ca: str = ""
    server_id: int = 0  # ours as a replica; 0 picks one
    connections: int = 4  # snapshot connections
    chunk_rows: int = 50_000
    max_rows_per_second: int = 0  # 0: no cap
    max_threads_running: int = 0  # pause the snapshot above it; 0: never
    max_replica_lag: float = 0.0  # seconds; pause the snapshot above it; 0: never


@dataclass(frozen=True, slots=True)
class Target:
    """How to reach DynamoDB, and how fast it may be written and read."""

    endpoint: str = ""  # "" finds AWS by boto3's usual chain
    region: str = ""
    profile: str = ""
    max_write_units: float = 0.0  # per second; 0: no cap
    max_read_units: float = 0.0
    concurrency: int = 32  # requests in flight at most; adapted below that
    billing: str = "on-demand"  # or "provisioned"
    read_capacity: int = 0
    write_capacity: int = 0


@dataclass(frozen=True, slots=True)
class KeyRule:
    """One key attribute of the target: its name, its type (S, N or B), and the template that fills it."""

    name: str
    value: str
    type: str = "S"


@dataclass(frozen=True, slots=True)
class TableRule:
    """How one source table becomes items. ``shape`` is ``record`` or ``group``.

    ``attributes`` adds (name, template) string attributes; in a group only from columns that determine the item's key.
    ``entry_name`` is the template that names a row's entry in a group; ``entry_value`` is a column, or "" for a map of all
    columns that are not excluded. ``types`` overrides the DynamoDB type of a column: S, N, B, BOOL.
    ``nulls``: ``null`` writes {"NULL": true}, ``omit`` leaves the attribute out (record only).
    """

    source: str
    target: str
    shape: str
    partition_key: KeyRule
    sort_key: KeyRule | None = None
    entry_name: str = ""
    entry_value: str = ""
    exclude: tuple[str, ...] = ()
    rename: dict[str, str] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, str] = field(default_factory=dict)
    nulls: str = "null"


@dataclass(frozen=True, slots=True)
class Project:
    path: Path
    state: Path
    source: Source
    target: Target
    tables: tuple[TableRule, ...]
