"""What check may find: each kind has a code that stays the same, a severity, and what to do about it.

``error``: the migration would be refused, or rows would not arrive as they are. ``warning``: it can go wrong, or an
application may be surprised. ``info``: good to know. docs/check.md is held to this table by a test.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

ERROR, WARNING, INFO = "error", "warning", "info"


class Kind(NamedTuple):
    severity: str
    meaning: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Finding:
    """``place`` is a table, a setting, an account or a part of the project file."""

    severity: str
    code: str
    place: str
    reason: str
    remedy: str


def finding(code: str, place: str, reason: str, remedy: str = "") -> Finding:
    """A Finding of one of KINDS; ``remedy`` where there is a better one than the kind's own."""
    kind = KINDS[code]
    return Finding(kind.severity, code, place, reason.strip(), (remedy or kind.remedy).strip())


def in_order(findings: list[Finding]) -> list[Finding]:
    """Errors first; else as they were found. Each once."""
    order = [ERROR, WARNING, INFO]
    return sorted(dict.fromkeys(findings), key=lambda each: order.index(each.severity))


_RECONNECT = "Set it, and reconnect the writers"
_FIX_ROWS = "Fix the rows, or change the mapping; what is left becomes dead letters"
_WIDEN = "Widen the key: a partition takes 1,000 writes/s. Where a column fits, the `spread` to write is printed"
_SPREAD = 'Write `load_order = "spread"` in its `[[table]]`'
_KEY = "Put a key of the source into that of the target, with separators between its columns"

KINDS: dict[str, Kind] = {
    # the source
    "source-unreachable": Kind(ERROR, "no connection to the source", "Check host, port, user, password and TLS"),
    "source-tls": Kind(
        WARNING,
        "the source is not on this machine, and its certificate is not verified: whoever stands between can read and "
        "change what is migrated",
        'Set `tls = "verify"` in `[source]`, with `tls_ca`',
    ),
    "server-version": Kind(ERROR, "older than MySQL 8.0 or MariaDB 10.5", "Upgrade the server"),
    "server-untested": Kind(
        INFO,
        "a release that whimbrel's own tests do not run on (they run on MariaDB 10.11 and 11.8 and MySQL 9.7)",
        "Rehearse the migration on a copy first, and verify it",
    ),
    "log-bin": Kind(ERROR, "the server writes no binary log", "Start it with `--log-bin`"),
    "binlog-format": Kind(ERROR, "`binlog_format` is not ROW", _RECONNECT),
    "binlog-row-image": Kind(ERROR, "`binlog_row_image` is not FULL: changes lack columns", _RECONNECT),
    "partial-json": Kind(
        ERROR, "`binlog_row_value_options` has PARTIAL_JSON: changed documents are not whole", _RECONNECT
    ),
    "binlog-filter": Kind(ERROR, "`binlog_do_db` or `binlog_ignore_db` leaves a database out", "Change the filter"),
    "session-settings": Kind(
        WARNING,
        "the setting is right, but sessions that are open still write with another one (MySQL only)",
        "Reconnect these sessions",
    ),
    "statement-changes": Kind(
        WARNING,
        "the recent binlog has changes that were written as statements, or without full row images",
        "Find the writer that sets `binlog_format` or `binlog_row_image` for its session: the capture would stop there",
    ),
    "row-metadata": Kind(
        INFO,
        "`binlog_row_metadata` is not FULL: names and character sets of columns are taken from the schema",
        "`SET GLOBAL binlog_row_metadata = FULL` if tables may be altered during the migration",
    ),
    "binlog-checksum": Kind(
        INFO,
        "`binlog_checksum` is NONE: a damaged event is found by its length and place only",
        "`SET GLOBAL binlog_checksum = CRC32`",
    ),
    "binlog-compressed": Kind(INFO, "the binlog is compressed", "Nothing: it is read as it is, for some more CPU"),
    "retention": Kind(
        WARNING,
        "the binlog is kept for less than a day, or than twice the time that the load takes",
        "Keep it longer: when the capture stands still for longer than that, the migration must start over",
    ),
    "gtid-off": Kind(
        WARNING, "the server has no GTIDs: the migration cannot follow a failover", "Turn `gtid_mode` on, if you can"
    ),
    "galera": Kind(
        WARNING, "a Galera node: another node's binlog has other positions", "Keep to this node until the end"
    ),
    "source-is-replica": Kind(
        WARNING, "the source is a replica", "At the cutover, stop the writes at its primary, and let it catch up first"
    ),
    "replica-behind": Kind(
        WARNING,
        "the source is a replica that stands still, or is a minute or more behind",
        "Fix the replication first",
    ),
    "replica-not-logged": Kind(
        ERROR, "a replica that does not log what it replicates", "`log_replica_updates = ON`, or use the primary"
    ),
    "replica-unknown": Kind(
        INFO,
        "the account may not ask whether the source is a replica",
        "GRANT SLAVE MONITOR (MariaDB), REPLICATION CLIENT",
    ),
    "privileges": Kind(ERROR, "the account lacks a privilege", "Run the GRANT that is printed"),
    "time-zone": Kind(
        INFO,
        "DATETIME columns, and a server outside of UTC: they carry its local time, and no zone",
        "TIMESTAMP becomes UTC; let the application treat DATETIME as it did before",
    ),
    # the tables
    "table-unsupported": Kind(
        ERROR, "no such table, not a base table, or a column that cannot be carried exactly", "See the reason"
    ),
    "no-key": Kind(ERROR, "neither a primary key nor a unique key without NULLs", "Add a primary key"),
    "engine": Kind(ERROR, "an engine without transactions", "`ALTER TABLE … ENGINE = InnoDB`"),
    "generated-column": Kind(
        ERROR,
        "a generated column on MariaDB 11: it is not in the binlog of UPDATE and DELETE",
        "Migrate from a replica of an older release, or make it a plain column",
    ),
    "cascade": Kind(
        ERROR,
        "a foreign key with CASCADE, SET NULL or SET DEFAULT changes its rows: not in the binlog (before MySQL 9.6)",
        "Let the application make these changes, and define the key with RESTRICT",
    ),
    "triggers": Kind(WARNING, "triggers, which stop at the cutover", "Let the new application do what they do"),
    "triggers-unknown": Kind(
        INFO, "the account may not see triggers", "GRANT TRIGGER on the schema, to have them listed"
    ),
    # the mapping
    "mapping": Kind(ERROR, "the mapping does not fit the table", "Fix the project file"),
    "table-altered": Kind(
        ERROR,
        "a table was altered since the migration began, and its rule does not say how that is handled",
        "See the reason",
    ),
    "project-changed": Kind(
        ERROR,
        "the project file is not the one that the migration began with",
        "Put it back, or start over with a new state folder and target table",
    ),
    "position-lost": Kind(ERROR, "the source cannot continue from where the migration is", "See the reason"),
    "regrouped": Kind(
        INFO,
        "an item's rows are not together in primary-key order: they are regrouped on disk",
        "Nothing; it takes some time and disk",
    ),
    "looks-up": Kind(
        INFO,
        "columns of another table are looked up: a change there rewrites all items whose rows use it",
        "If such columns change often, let the application read them from the other table's item",
    ),
    "sample-only": Kind(
        INFO,
        "a filter, computed, masked or looked-up columns: only the mapped sample tells what the server cannot count",
        "Look at `whimbrel preview` with more rows",
    ),
    "reserved-name": Kind(
        INFO,
        "an attribute's name is a reserved word of DynamoDB, or has other characters than letters, digits and `_`",
        "This concerns expressions only: write it as `#name` with ExpressionAttributeNames, or rename it",
    ),
    # the data
    "key-unproven": Kind(
        ERROR,
        "different rows could get one key; none of those read do",
        f"{_KEY}; or, if you know that none ever will, write `assert_unique = true`",
    ),
    "key-asserted": Kind(
        WARNING,
        "different rows could get one key; none of those read do, and the project file says that none ever will",
        f"{_KEY}. `whimbrel verify` tells if it was wrong",
    ),
    "key-shared": Kind(ERROR, "different rows get one key, or one entry of one item", _KEY),
    "key-separator": Kind(
        ERROR,
        "rows whose key, or entry's name, cannot be told from another's: a column's text contains its separator",
        "Choose a separator that the values never contain; what is left becomes dead letters",
    ),
    "key-collation": Kind(
        WARNING,
        "values of a key column that its collation calls equal, such as 'a' and 'A': DynamoDB keeps them apart",
        "Make them one in the source, or let the application spell the key as it is stored",
    ),
    "key-format": Kind(ERROR, "rows whose key, or entry's name, has a value that its format cannot carry", _FIX_ROWS),
    "key-null": Kind(ERROR, "rows with NULL in a column of the key or the entry's name", _FIX_ROWS),
    "template-null": Kind(
        INFO,
        'rows with NULL in a column of an added attribute\'s template: it is NULL, or left out with `nulls = "omit"`',
        "Nothing, if the application expects that; COALESCE in a computed column gives another text",
    ),
    "key-empty": Kind(ERROR, "rows whose key, entry's name, or attribute of an index is empty", _FIX_ROWS),
    "key-too-long": Kind(ERROR, "keys, of the table or an index, over 2048 bytes, or 1024 of a sort key", _FIX_ROWS),
    "entry-clash": Kind(
        ERROR, "rows whose entry has the name of a key, or of an attribute of the whole item", "Give entries a prefix"
    ),
    "item-too-large": Kind(ERROR, "items over 400 KB", "Split a group by `oversize`; else leave attributes out"),
    "item-large": Kind(WARNING, "items over 300 KB, that may grow beyond 400 KB", "Plan to split them"),
    "number-range": Kind(
        ERROR,
        "numbers with more than 38 digits, or outside of DynamoDB's range",
        'Carry the column as text: types = "S"',
    ),
    "type-refused": Kind(ERROR, "values that cannot have the type that the project file asks for", "Change `types`"),
    "row-refused": Kind(ERROR, "rows of the sample that cannot become items, for another reason", _FIX_ROWS),
    "empty-value": Kind(
        INFO,
        "empty strings or bytes: they stay empty, and are not NULL",
        "Nothing, if the application knows the difference",
    ),
    "zero-date": Kind(INFO, "zero or partial dates: carried as their text", "Let the application expect them"),
    "hot-partition": Kind(WARNING, "one partition key has a tenth of the rows or more", _WIDEN),
    "hot-load": Kind(INFO, "a partition key has 10,000 rows or more: if they lie together, the load is slow", _SPREAD),
    "index-collection": Kind(WARNING, "local indexes, and over 10 GB of one partition key", "Use global indexes"),
    "hot-writes": Kind(
        WARNING, "one partition key had a fifth of the recent writes or more, and more than 10 a second", _WIDEN
    ),
    "large-groups-change": Kind(
        WARNING,
        "items of a thousand entries or more are written once a second or more often: each write costs the write units "
        "of the whole item",
        'Split them: add a column to the key, or make an item of each row (`shape = "record"`)',
    ),
    "sampled": Kind(INFO, "a large table that was read only in part", "`--full` reads all, `--sample` more"),
    "not-checked": Kind(WARNING, "a check took too long and was stopped", "`--full`, or more `--seconds`"),
    # the target
    "target-unreachable": Kind(ERROR, "no answer from the target, or no right to ask", "Check endpoint and rights"),
    "target-ttl": Kind(ERROR, "the target's time to live is on before the cutover", "Switch it off until `finish`"),
    "target-stream": Kind(ERROR, "the Kinesis stream cannot be used", "Make it, or fix `log.stream`, region or rights"),
    "stream-large-changes": Kind(WARNING, "changes that no record takes would be dead letters", "Set `snapshot.store`"),
    "stream-retention": Kind(INFO, "how long the stream keeps records", "Nothing: what it loses is sent again"),
    "target-import": Kind(ERROR, "an import cannot make this target", 'Change it, or set `load.engine = "process"`'),
    "snapshot-store": Kind(ERROR, "the bucket cannot be used", "Fix `snapshot.store`, endpoint, region or rights"),
    "target-not-empty": Kind(ERROR, "the target table has items already", "Name another table, or `--into-existing`"),
    "target-key": Kind(
        ERROR, "the target table has another key than the mapping", "Change the key, or name another table"
    ),
    "target-mark": Kind(
        ERROR, "the table of marks cannot be used: it has another key", "Name another table as `mark` in `[target]`"
    ),
    "no-mark": Kind(
        WARNING,
        "the mark is off: a second state folder on the same target is not noticed",
        'Leave `mark = "off"` out of `[target]`',
    ),
    "target-index": Kind(
        ERROR,
        "an index of the target has a column as its key that may be NULL, empty, or of another type",
        "Change `types` or `nulls`, or drop the index",
    ),
    "slow-load": Kind(
        WARNING, "the load would take more than a day at the rate given", "A higher rate, or import from S3"
    ),
    "prices": Kind(
        INFO,
        "no prices for this region, or not all: what is missing is not estimated",
        "Give a file of your own: `--prices`",
    ),
    # a cutover (`whimbrel cutover --plan`)
    "cutover-not-following": Kind(ERROR, "the migration does not follow the source yet", "First: `whimbrel migrate`"),
    "cutover-dead-letters": Kind(
        ERROR,
        "rows that are not in the target",
        "Fix them, then `whimbrel retry-dead`: see `whimbrel status`; or accept each by name: `--waive-dead-letters`",
    ),
    "cutover-waived": Kind(
        WARNING, "rows that are not in the target, and that somebody accepts", "They stay out of DynamoDB"
    ),
    "cutover-not-verified": Kind(
        ERROR, "no verification of everything that is recent enough and found both sides equal", "`whimbrel verify`"
    ),
    "cutover-lag": Kind(WARNING, "the target is too far behind: a cutover waits until it is close", "See `status`"),
    "cutover-slow": Kind(
        WARNING,
        "rows that can only be looked up by reading the whole table: to verify them may take more than max_stall",
        "Allow a longer max_stall, or try in a quiet hour: what takes longer is undone",
    ),
    "cutover-privileges": Kind(ERROR, "the account may not make the fence", "Run the GRANT that is printed"),
    "cutover-fence": Kind(
        ERROR, "the fence that is set cannot be made at this source", "Choose another fence: see docs/cutover.md"
    ),
    "cutover-accounts": Kind(
        ERROR,
        "an account that could still write after the REVOKE",
        "Grant it on the tables alone, end its connections, and name it in `revoke_from`; or answer for it in "
        "`waived_accounts`",
    ),
    "cutover-waived-account": Kind(
        WARNING, "an account that may still write, as the project file answers for it", "Make sure that it does not"
    ),
    "cutover-closed-too": Kind(
        WARNING,
        "tables of the schema that are not migrated, and are closed with it",
        "Move them, or choose another fence",
    ),
    "cutover-fence-unproved": Kind(
        WARNING,
        "the fence is the user's own: nothing at the source refuses a write that gets past it",
        "What is written before the decision undoes the cutover; what is written later is reported",
    ),
    "cutover-prepared": Kind(
        ERROR, "prepared XA transactions, which may commit at any time", "Commit them or roll them back"
    ),
    "cutover-cluster": Kind(
        ERROR, "a cluster in which other nodes take writes, too", "Let one node alone take writes, or another fence"
    ),
    "cutover-replica": Kind(
        ERROR, "the source is a replica: triggers do not stop replicated writes", "Migrate from the primary"
    ),
    "cutover-cascade": Kind(
        ERROR,
        "a foreign key of a table that is not cut over changes rows past the fence",
        "Cut both over together, or define the key with RESTRICT",
    ),
    "cutover-bound": Kind(
        WARNING,
        "a foreign key to or from a table that is not cut over: the source continues to check it against rows that "
        "stand still, or come back late",
        "Cut both over together, or drop the key",
    ),
    "cutover-triggers": Kind(
        WARNING,
        "triggers of the tables' own: DynamoDB fires none, and what is written back fires them; a row that they change "
        "is not what its item says, which refuses a rollback",
        "Let the new application do what they do, and drop those that change rows",
    ),
    "cutover-stream": Kind(
        ERROR,
        "a target whose stream does not show items as they were and as they are, which the way back needs",
        "Turn it off, if nobody reads it: a cutover turns it on",
    ),
    "cutover-chained": Kind(
        ERROR,
        "a trigger of one migrated table that writes to another: what is written back would fire it, and change rows "
        "whose items nobody wrote",
        "Let the new application do what it does, and drop it; or cut over without `reverse_user`",
    ),
    "cutover-triggered": Kind(
        WARNING,
        "a trigger of a table that is not cut over, which writes to one that is: it will be refused, and with it the "
        "statement that fires it",
        "Cut both over together, or drop the trigger before",
    ),
    "cutover-events": Kind(WARNING, "events that may write to the tables, and will be refused", "Disable them before"),
    "cutover-long": Kind(
        WARNING,
        "a long transaction: a table that it has used cannot be locked until it ends",
        "End it first",
    ),
    "cutover-unheard": Kind(
        WARNING,
        "nothing tells the application that DynamoDB is open",
        "Set `on_switch`, `on_switch_url` or `route_file` in `[cutover]`",
    ),
    "cutover-no-way-back": Kind(WARNING, "there is no way back from DynamoDB", "Set `reverse_user` in `[cutover]`"),
    "cutover-reverse-account": Kind(
        ERROR, "the account of the way back cannot be used", "See docs/cutover.md for its grants"
    ),
    "cutover-not-readable": Kind(
        ERROR,
        "a table that cannot be read back from its items, though `reverse_user` is set",
        "Change the mapping, or cut over without `reverse_user`: then there is no way back",
    ),
    "cutover-not-returned": Kind(INFO, "a column that no item carries back", "Nothing, if rows can do without it"),
    "cutover-stall": Kind(
        WARNING, "the estimate is over max_stall: the cutover would be undone", "Allow more, or try in a quieter hour"
    ),
    # the application's statements
    "access-index": Kind(
        WARNING, "a statement that the key does not serve, and an index would", "Add the index that is named"
    ),
    "access-scan": Kind(
        WARNING, "a statement that would read the whole table", "Give it a key, or ask the lake: `whimbrel query`"
    ),
    "access-not-served": Kind(
        WARNING,
        "a statement that no request of DynamoDB answers: joins, groups, figures over a table",
        "See the remedy",
    ),
    "access-unread": Kind(INFO, "statements that were not understood: the report lists them", "Read them by hand"),
    "access-statements": Kind(WARNING, "performance_schema has nothing, or cannot be read", "Give `--statements FILE`"),
}
