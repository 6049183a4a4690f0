"""Every error that whimbrel raises on purpose. Foreign errors are translated at the boundary where they arise.

::

    WhimbrelError                 has: message, place, hint; str() is "place: message. hint"
    ├── UserError                 what the person asked for cannot be done as asked (exit code 2)
    │   ├── ProjectError          the project file
    │   ├── MappingError          a mapping that does not fit the schema
    │   ├── TrainingError         data or settings that no model can be trained from
    │   ├── RowError              a row that does not fit a model's inputs: ``column`` names the one at fault
    │   ├── PrivilegeError        the source or target account may not do something
    │   ├── PasswordWithheld      the server asks for the password in a way that could reveal it
    │   └── NotReady              the plan of a cutover has errors: nothing was changed
    ├── SourceError               MySQL or MariaDB
    │   ├── SourceUnreachable     (Retryable) the connection failed or broke
    │   ├── UnsupportedSource     a setting, version or table that cannot be migrated exactly
    │   ├── IncompleteRead        the source counts other rows than it sent
    │   ├── PositionLost          the position is not in the source's binlog any more, or never was
    │   └── UndecodableEvent      something in the binlog that cannot be decoded exactly
    │       ├── PartialImage      binlog_row_image is not FULL, or a partial JSON update
    │       └── StatementChange   a captured table was changed by a statement-format event
    ├── SchemaDrift               a table is not (any more) what the decoder or the mapping expects
    ├── TargetError               DynamoDB
    │   ├── TargetUnreachable     (Retryable) no answer, or a 5xx
    │   │   └── UnexpectedAnswer  an answer that does not have the documented form: not known to be a success
    │   ├── Throttled             (Retryable)
    │   ├── RequestRefused        DynamoDB refused the request: ``code`` has its name for it
    │   ├── TargetTaken           another state folder works on the target
    │   └── TargetNotEmpty        a target table has items that whimbrel did not write
    ├── HandoverError             a cutover, or the way back
    │   ├── CutoverUndone         it was undone before the decision: the application continues at MySQL
    │   ├── RollbackUndone        it was undone before the decision to return: DynamoDB is open again
    │   ├── TablesBusy            (Retryable) the tables could not be locked within the time given
    │   ├── FenceBroken           the fence is not, or cannot be made, as it must be
    │   ├── HandoverTaken         another state folder hands over these tables
    │   └── TargetOpen            DynamoDB is open for writes, or about to be: nothing migrates forward any more
    ├── OutOfMemory               the process may not have the memory that it needs
    ├── WorkerLost                a worker process ended before its work was done
    ├── Stopped                   (Retryable) asked to stop before a call was done: nothing of it may be checkpointed
    └── StateError                the state folder
        ├── LogCorrupt            a checksum in the change log or an export file does not match
        ├── LogGone               the change log no longer has the place asked for
        ├── ModelDamaged          a model file whose digest or content does not fit
        └── Locked                another whimbrel is at work on this project

``Retryable`` is a mark beside the tree: ``isinstance(error, Retryable)`` says if the same call may succeed later.
"""

from __future__ import annotations


class Retryable:
    """The same call may succeed later."""


class WhimbrelError(Exception):
    """``place`` says where (a table, file, position, key), ``hint`` what to do next."""

    def __init__(self, message: str, *, place: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.place = place
        self.hint = hint

    def __str__(self) -> str:
        text = f"{self.place}: {self.message}" if self.place else self.message
        return f"{text.rstrip('.')}. {self.hint}" if self.hint else text


class UserError(WhimbrelError): ...


class ProjectError(UserError): ...


class MappingError(UserError): ...


class TrainingError(UserError): ...


class RowError(UserError):
    def __init__(self, message: str, *, column: str, place: str = "", hint: str = "") -> None:
        super().__init__(message, place=place, hint=hint)
        self.column = column


class PrivilegeError(UserError): ...


class PasswordWithheld(UserError): ...


class NotReady(UserError): ...


class SourceError(WhimbrelError):
    """``code`` is the server's number for it, 0 where it is not the server's."""

    def __init__(self, message: str, *, place: str = "", hint: str = "", code: int = 0) -> None:
        super().__init__(message, place=place, hint=hint)
        self.code = code


class SourceUnreachable(SourceError, Retryable): ...


class UnsupportedSource(SourceError): ...


class IncompleteRead(SourceError): ...


class PositionLost(SourceError): ...


class UndecodableEvent(SourceError): ...


class PartialImage(UndecodableEvent): ...


class StatementChange(UndecodableEvent): ...


class SchemaDrift(WhimbrelError): ...


class TargetError(WhimbrelError): ...


class TargetUnreachable(TargetError, Retryable): ...


class UnexpectedAnswer(TargetUnreachable): ...


class Throttled(TargetError, Retryable): ...


class RequestRefused(TargetError):
    def __init__(self, message: str, *, code: str, place: str = "", hint: str = "") -> None:
        super().__init__(message, place=place, hint=hint)
        self.code = code


class TargetTaken(TargetError): ...


class TargetNotEmpty(TargetError): ...


class HandoverError(WhimbrelError): ...


class CutoverUndone(HandoverError): ...


class TablesBusy(HandoverError, Retryable): ...


class RollbackUndone(HandoverError): ...


class FenceBroken(HandoverError): ...


class HandoverTaken(HandoverError): ...


class TargetOpen(HandoverError): ...


class OutOfMemory(WhimbrelError): ...


class WorkerLost(WhimbrelError): ...


class StateError(WhimbrelError): ...


class LogCorrupt(StateError): ...


class LogGone(StateError): ...


class ModelDamaged(StateError): ...


class Locked(StateError): ...


class Stopped(WhimbrelError, Retryable): ...
