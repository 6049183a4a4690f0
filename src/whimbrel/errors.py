"""Every error that whimbrel raises on purpose. Foreign errors are translated at the boundary where they arise.

::

    WhimbrelError                 has: message, place, hint; str() is "place: message. hint"
    ├── UserError                 what was asked for cannot be done as asked (exit code 2)
    │   ├── ProjectError          the project file, or the DMS file, cannot be used as it is
    │   ├── MappingError          a mapping that does not fit the schema
    │   ├── TrainingError         data or settings that no model can be trained from
    │   ├── RowError              a row that does not fit a model's inputs: ``column`` names the one at fault
    │   ├── PrivilegeError        the source or target account may not do something
    │   ├── PasswordWithheld      the server asks for the password in a way that could reveal it
    │   ├── NotReady              the plan of a cutover has errors: nothing was changed
    │   └── NotYet                (Retryable) too early: a table has no items, or was exported minutes ago
    ├── SourceError               MySQL or MariaDB refused something, or did not answer as it should
    │   ├── SourceUnreachable     (Retryable) the connection failed or broke
    │   ├── UnsupportedSource     a setting, version or table that cannot be migrated exactly
    │   ├── IncompleteRead        the source sent another number of rows than it counts
    │   ├── PositionLost          the position is not in the source's binlog any more, or never was
    │   └── UndecodableEvent      something in the binlog that cannot be decoded exactly
    │       ├── PartialImage      a change lacks columns: binlog_row_image is not FULL, or a JSON update is partial
    │       └── StatementChange   a captured table was changed by a statement-format event
    ├── SchemaDrift               a table is not, or no longer, what the decoder or the mapping expects
    ├── TargetError               the target table is not as it should be, or a read of it broke off
    │   ├── TargetUnreachable     (Retryable) no answer, or a 5xx
    │   │   └── UnexpectedAnswer  an answer that does not have the documented form: not known to be a success
    │   ├── Throttled             (Retryable) more was asked than the table's capacity allows
    │   ├── RequestRefused        DynamoDB refused the request: ``code`` has its name for it
    │   ├── TargetTaken           another state folder works on the target
    │   └── TargetNotEmpty        a target table has items that whimbrel did not write
    ├── HandoverError             a cutover, or the way back, cannot continue as asked
    │   ├── CutoverUndone         it was undone before the decision: the application continues at MySQL
    │   ├── RollbackUndone        it was undone before the decision to return: DynamoDB is open again
    │   ├── TablesBusy            (Retryable) the tables could not be locked within the time given
    │   ├── FenceBroken           the fence could not be set up, or was changed afterwards
    │   ├── HandoverTaken         another state folder runs the cutover of these tables
    │   └── TargetOpen            DynamoDB is open for writes, or about to be, so nothing is migrated forward any more
    ├── WarehouseError            the warehouse refused a statement, or does not have what was written there
    │   ├── WarehouseUnreachable  (Retryable) no connection, or it broke; or its file is in use
    │   └── WarehouseTaken        another state folder writes the silo
    ├── OutOfMemory               the process may not have the memory that it needs
    ├── WorkerLost                a worker process ended before its work was done
    ├── Stopped                   (Retryable) asked to stop before a call was done: nothing of it may be checkpointed
    └── StateError                the state folder cannot be read or written, or its files do not belong together
        ├── LogCorrupt            a checksum in the change log or an export file does not match
        ├── LogGone               the change log no longer has the place that was asked for
        ├── ModelDamaged          a model file does not match its digest, or contradicts itself
        └── Locked                another whimbrel is working on this project

``Retryable`` is a mark beside the tree: ``isinstance(error, Retryable)`` says if the same call may succeed later.
The first paragraph of each class says what to do. docs/errors.md is made from the tree and these.
"""

from __future__ import annotations

# What a hint says where nothing else helps. It is of a migration: for a silo, ``warehouse.prepared`` says it otherwise.
BEGIN_AGAIN = "begin again with a new state folder and target table"


class Retryable:
    """The same call may succeed later."""


class WhimbrelError(Exception):
    """A bug in whimbrel. Please report it with ``whimbrel.log``.

    ``place`` says where (a table, file, position, key), ``hint`` what to do next."""

    def __init__(self, message: str, *, place: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.place = place
        self.hint = hint

    def __str__(self) -> str:
        text = f"{self.place}: {self.message}" if self.place else self.message
        return f"{text.rstrip('.')}. {self.hint}" if self.hint else text


class UserError(WhimbrelError):
    """Correct the command line, or the file that the message names."""


class ProjectError(UserError):
    """Correct the project file, or the DMS file. All faults are listed at once."""


class MappingError(UserError):
    """Change the mapping so that it fits the table."""


class TrainingError(UserError):
    """Change the data or the settings of the model as the message says."""


class RowError(UserError):
    """The row does not fit the model's inputs. Correct the column that is named."""

    def __init__(self, message: str, *, column: str, place: str = "", hint: str = "") -> None:
        super().__init__(message, place=place, hint=hint)
        self.column = column


class PrivilegeError(UserError):
    """Grant what the message names, or check the user and its password."""


class PasswordWithheld(UserError):
    """Set up TLS with ``tls = "verify"``, or another way to log in."""


class NotReady(UserError):
    """The plan of the cutover has errors, and nothing was changed. Correct each."""


class NotYet(UserError, Retryable):
    """Run the same command later: when the table has items, or the time that the message names has come."""


class SourceError(WhimbrelError):
    """The server refused a statement, or did not answer as MySQL or MariaDB does. Check host, port and any proxy in
    between.

    ``code`` is the server's number for it, 0 where it is not the server's."""

    def __init__(self, message: str, *, place: str = "", hint: str = "", code: int = 0) -> None:
        super().__init__(message, place=place, hint=hint)
        self.code = code


class SourceUnreachable(SourceError, Retryable):
    """While a migration runs, it is retried forever. At the start, check host, port, network and TLS."""


class UnsupportedSource(SourceError):
    """Change the setting, or exclude the table, that the message names. Rows written with the wrong setting are in no
    log: start over."""


class IncompleteRead(SourceError):
    """Something between the server and whimbrel truncates results. Check proxies and the server's limits, then run the
    same command."""


class PositionLost(SourceError):
    """The binary log was purged or reset, or this server never had our position. Start over, and keep the log
    longer."""


class UndecodableEvent(SourceError):
    """The binary log has something that whimbrel cannot decode exactly. Please report it with the message; start over
    after it."""


class PartialImage(UndecodableEvent):
    """``binlog_row_image`` is not FULL, or partial JSON is on. Set it back for all sessions, and start over."""


class StatementChange(UndecodableEvent):
    """Somebody wrote with ``binlog_format=STATEMENT``, or rows changed without row events. Set ROW for all sessions,
    and start over."""


class SchemaDrift(WhimbrelError):
    """A captured table was altered in a way that you must decide about."""


class TargetError(WhimbrelError):
    """The target table is not the one that was loaded, or a read of it broke off. Run the same command; if it stays,
    start over."""


class TargetUnreachable(TargetError, Retryable):
    """While a migration runs, it is retried forever. At the start, check endpoint, region and network."""


class UnexpectedAnswer(TargetUnreachable):
    """The endpoint did not answer as DynamoDB does, twelve times in a row. Check the endpoint and proxies, then run
    the same command."""


class Throttled(TargetError, Retryable):
    """Retried until it succeeds. If it ends a command, raise the table's capacity, or lower ``max_write_units``."""


class RequestRefused(TargetError):
    """DynamoDB refused a request for the reason given. Correct the table, the key or the account's permissions."""

    def __init__(self, message: str, *, code: str, place: str = "", hint: str = "") -> None:
        super().__init__(message, place=place, hint=hint)
        self.code = code


class TargetTaken(TargetError):
    """Another state folder works on the target, or took it over."""


class TargetNotEmpty(TargetError):
    """The target has items that this migration did not write. Name another table, or pass ``--into-existing`` on
    purpose."""


class HandoverError(WhimbrelError):
    """A cutover or the way back cannot continue as asked. See the message, and ``whimbrel status``."""


class CutoverUndone(HandoverError):
    """The cutover was undone before its decision, and the application continues at the source. Remove the cause, then
    ``whimbrel cutover`` again."""


class TablesBusy(HandoverError, Retryable):
    """A transaction kept the tables for longer than writers may wait. End it, then run the same command again."""


class RollbackUndone(HandoverError):
    """The rollback was undone before its decision: DynamoDB is open again, and the way back stays. Remove the cause,
    then ``whimbrel rollback`` again."""


class FenceBroken(HandoverError):
    """The fence could not be made, or was changed by somebody. See the message."""


class HandoverTaken(HandoverError):
    """Another state folder runs the cutover of these tables. Continue with that one."""


class TargetOpen(HandoverError):
    """Writes go to DynamoDB since a cutover, so nothing is migrated forward. ``whimbrel cutover`` continues it."""


class WarehouseError(WhimbrelError):
    """The warehouse refused a statement, or has something else than whimbrel wrote there. See the message; if rows of
    a silo were changed by somebody else, drop its schema, remove its state folder, and begin it again."""


class WarehouseUnreachable(WarehouseError, Retryable):
    """Check that the server is up, or that no other program holds the file of DuckDB open. Run the same command
    again: it continues."""


class WarehouseTaken(WarehouseError):
    """Another state folder writes this silo, or its schema has tables that whimbrel did not make. Continue with that
    folder, or give the silo another name."""


class OutOfMemory(WhimbrelError):
    """Give the process more memory, or lower ``chunk_rows``, ``connections`` or ``concurrency``. Run the same command
    again."""


class WorkerLost(WhimbrelError):
    """A worker process was killed, most often because the machine was out of memory. Give it more, or set fewer
    ``workers``. Run the same command again: it continues."""


class StateError(WhimbrelError):
    """The state folder cannot be read or written, or its files do not belong together. Free disk space, fix
    permissions, or restore the folder from one copy."""


class LogCorrupt(StateError):
    """The disk lost something. Restore the state folder from a copy, or start over."""


class LogGone(StateError):
    """The change log no longer has the place that the checkpoint needs. Restore the state folder from one copy, or
    start over."""


class ModelDamaged(StateError):
    """The model file is damaged. Train it again, or restore it from a copy."""


class Locked(StateError):
    """Another process works on this state folder. Wait for it, or stop it."""


class Stopped(WhimbrelError, Retryable):
    """Run the same command again: it continues where it stopped."""
