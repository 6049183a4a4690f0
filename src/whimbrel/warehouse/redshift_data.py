"""Redshift by its Data API: statements over HTTPS, in a session that the service keeps. No port of the cluster need be
reachable, and there is no password: whoever calls has credentials of IAM.

A session keeps a transaction open from one statement to the next. ``prove`` sees that it does, before anything is
written: if each statement were a transaction of its own, a crash could leave half a batch. Each statement has a token,
so asking again after a lost answer runs it once. A session that is lost ends its transaction: nothing of that was kept.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from typing import Any

from whimbrel.dynamodb.pace import Backoff
from whimbrel.dynamodb.session import open_service, translate
from whimbrel.errors import (
    PrivilegeError,
    RequestRefused,
    TargetUnreachable,
    Throttled,
    WarehouseError,
    WarehouseUnreachable,
)
from whimbrel.project import Target, Warehouse
from whimbrel.warehouse.postgres import ISOLATION

KEEP_SECONDS = 600  # for which the service keeps a session after its last statement
FIRST_LOOK, LONGEST_PAUSE = 0.05, 2.0  # seconds between two looks at a statement that runs
PATIENCE = 120.0  # seconds for which the service may not answer
_OVER = ("FINISHED", "FAILED", "ABORTED")
_PROBE, _CURSOR = "whimbrel_probe", "whimbrel_read"
_AGAIN = "Run the same command again: it continues from what is there."


@contextmanager
def data_session(warehouse: Warehouse, target: Target) -> Iterator[DataStatements]:
    """Of a workgroup (Redshift Serverless), or of a cluster as one of its users."""
    statements = DataStatements(open_service(replace(target, endpoint=""), "redshift-data"), warehouse)
    try:
        yield statements
    finally:
        statements.close()


class DataStatements:
    """``Statements`` in one session, which the first of them begins."""

    def __init__(self, client: Any, warehouse: Warehouse) -> None:
        self._client, self._place = client, warehouse.place
        of = {"ClusterIdentifier": warehouse.cluster, "DbUser": warehouse.user}
        of = of if warehouse.cluster else {"WorkgroupName": warehouse.workgroup}
        self._begin = {**of, "Database": warehouse.database}
        self._session = ""
        self._within = False  # a transaction

    def close(self) -> None:
        """End the session at once, where the service can be reached; else it ends it by itself."""
        if self._session:
            with suppress(Exception):
                self._start("SELECT 1", (), keep=0)

    def prove(self) -> None:
        """That a transaction stays open from one statement to the next. Raises WarehouseError."""
        self.execute("BEGIN")
        self.execute(f"CREATE TEMPORARY TABLE {_PROBE} (a INTEGER)")
        self.execute("ROLLBACK")
        try:
            self.execute(f"DROP TABLE {_PROBE}")
        except WarehouseUnreachable:
            raise
        except WarehouseError:
            return  # it is not there: it was rolled back
        raise WarehouseError(
            "the Data API did not roll back what a transaction had made in several statements",
            place=self._place,
            hint="Connect with redshift://user@host:port/database instead.",
        )

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self.execute("BEGIN")
        self._within = True
        try:
            yield
        except BaseException:
            with suppress(Exception):  # the session is lost, and with it the transaction
                self.execute("ROLLBACK")
            raise
        finally:
            self._within = False
        self.execute("COMMIT")

    def execute(self, sql: str, values: Sequence[Any] = ()) -> int:
        return max(0, int(self._run(sql, values).get("ResultRows", 0)))

    def fetch(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self._rows(self._run(sql, values))[1]

    def answer(self, statement: str) -> tuple[list[str], list[tuple[Any, ...]]]:
        """The names of the columns, none where there are none, and all rows."""
        return self._rows(self._run(statement, ()))

    def parts(self, statement: str, size: int) -> Iterator[list[tuple[Any, ...]]]:
        """By a cursor: an answer of the service is no longer than some hundred megabytes."""
        with nullcontext() if self._within else self.transaction():
            self.execute(f"DECLARE {_CURSOR} CURSOR FOR {statement}")
            while rows := self.fetch(f"FETCH FORWARD {size} FROM {_CURSOR}"):
                yield rows
            self.execute(f"CLOSE {_CURSOR}")

    def _run(self, sql: str, values: Sequence[Any]) -> Any:
        """Until it is over; what the service says of it then."""
        found = self._start(sql, values, KEEP_SECONDS)
        self._session = found.get("SessionId", self._session)
        backoff = Backoff(FIRST_LOOK, LONGEST_PAUSE)
        while (found := self._call("describe_statement", Id=found["Id"]))["Status"] not in _OVER:
            time.sleep(backoff.next())
        if found["Status"] != "FINISHED":
            raise self._refused(str(found.get("Error") or f"the statement ended as {found['Status']}"))
        return found

    def _start(self, sql: str, values: Sequence[Any], keep: int) -> Any:
        sql, parameters = _with_parameters(sql, values)
        return self._call(
            "execute_statement",
            Sql=sql,
            ClientToken=secrets.token_hex(32),
            SessionKeepAliveSeconds=keep,
            **({"SessionId": self._session} if self._session else self._begin),
            **({"Parameters": parameters} if parameters else {}),
        )

    def _rows(self, found: Any) -> tuple[list[str], list[tuple[Any, ...]]]:
        if not found.get("HasResultSet"):
            return [], []
        rows: list[tuple[Any, ...]] = []
        more: dict[str, str] = {}
        while True:
            page = self._call("get_statement_result", Id=found["Id"], **more)
            rows += [tuple(map(_value, row)) for row in page["Records"]]
            if not page.get("NextToken"):
                return [column["name"] for column in page.get("ColumnMetadata", ())], rows
            more = {"NextToken": page["NextToken"]}

    def _call(self, operation: str, **request: Any) -> Any:
        """Made again while the service is throttled or away."""
        backoff, ends = Backoff(0.2, LONGEST_PAUSE), time.monotonic() + PATIENCE
        while True:
            try:
                try:
                    return getattr(self._client, operation)(**request)
                except Exception as error:
                    translate(error, self._place)
            except (Throttled, TargetUnreachable) as error:
                if time.monotonic() > ends:
                    raise WarehouseUnreachable(error.message, place=self._place, hint=_AGAIN) from error
                time.sleep(backoff.next())
            except RequestRefused as error:
                raise self._refused(error.message) from error

    def _refused(self, said: str) -> WarehouseError | PrivilegeError:
        words = " ".join(said.split())[:300]
        if "permission denied" in words.lower():
            hint = "Grant it: whimbrel makes a schema for each silo, and one for itself."
            return PrivilegeError(words, place=self._place, hint=hint)
        if "session" in words.lower() or ISOLATION in words.lower():
            return WarehouseUnreachable(words, place=self._place, hint=_AGAIN)
        return WarehouseError(words, place=self._place)


def _with_parameters(sql: str, values: Sequence[Any]) -> tuple[str, list[dict[str, str]]]:
    """A text goes as a parameter, so that nothing of it is SQL; a number, or NULL, stands in the statement."""
    parts = sql.split("?") if values else [sql]
    made, parameters = parts[0], list[dict[str, str]]()
    for value, rest in zip(values, parts[1:], strict=True):
        if isinstance(value, str):
            name = f"p{len(parameters)}"
            parameters.append({"name": name, "value": value})
            made += f":{name}{rest}"
        else:
            made += f"{'NULL' if value is None else repr(value)}{rest}"
    return made, parameters


def _value(field: dict[str, Any]) -> Any:
    if field.get("isNull"):
        return None
    [value] = field.values()
    return value
