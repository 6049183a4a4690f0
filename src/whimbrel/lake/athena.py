"""Questions to Athena: one paid call each, whatever happens on the way, and answers of the types that DuckDB gives.

A token makes the call one call however often it is repeated. Whoever waits for an answer and is stopped ends the query,
so that nothing runs on unnoticed.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from whimbrel.dynamodb.session import open_service, translate
from whimbrel.errors import Stopped, UnexpectedAnswer, UserError
from whimbrel.lake.athena_sql import translated
from whimbrel.lake.athena_types import Shown
from whimbrel.patience import Patience
from whimbrel.project import Project

if TYPE_CHECKING:
    import pyarrow

FIRST_LOOK, LONGEST_PAUSE = 0.2, 5.0  # seconds between two looks at a query that is under way
PATIENCE = 600.0  # seconds for which Athena may not answer, once it has
MOST_BYTES = 262_144  # of a statement
_CATALOG = "AwsDataCatalog"
_WHOLE = ("tinyint", "smallint", "integer", "int", "bigint")
_DOUBLE, _TEXT = ("double", "float", "real"), ("varchar", "string", "char")
_LEAST_BYTES = 10_000_000  # that a query is billed for


class AthenaRows(NamedTuple):
    """``columns`` are (type, scale) pairs, as Athena says them; a NULL in ``rows`` is None."""

    columns: list[tuple[str, int]]
    rows: list[tuple[str | None, ...]]


class Athena:
    """One workgroup, for the tables of one database. ``scanned`` counts the bytes of all queries, as they are billed.

    Every call raises UserError for a question that Athena refuses, PrivilegeError, Throttled, TargetUnreachable,
    RequestRefused and Stopped.
    """

    def __init__(self, project: Project, stop: threading.Event | None = None) -> None:
        """Raises UserError for a workgroup without a limit of bytes: any question could cost any amount."""
        lake = project.lake
        self._client = open_service(replace(project.target, endpoint=lake.athena_endpoint), "athena")
        self._database, self._workgroup = lake.database, lake.workgroup
        self._stop = stop or threading.Event()
        self._patience = Patience("Athena", PATIENCE)
        self._patience.attend(self._stop)
        self.scanned = 0
        self._check_workgroup()

    def ask(self, statement: str, tables: Mapping[str, Shown], empty: pyarrow.Table, types: Sequence[str]) -> Any:
        """The answer to a statement of DuckDB, as an Arrow table with the schema of ``empty``. ``types`` are DuckDB's
        names of its columns' types.
        """
        answer = self._answer(translated(statement, tables, self._database, types))
        return _typed(answer, empty.schema)

    def run(self, statement: str) -> None:
        """A statement that has no answer, as it is."""
        self._finished(self._start(statement))

    def _check_workgroup(self) -> None:
        found = self._call("get_work_group", WorkGroup=self._workgroup)["WorkGroup"].get("Configuration", {})
        if not found.get("BytesScannedCutoffPerQuery"):
            hint = "Set its limit of bytes a query; `whimbrel aws template` makes one that has it."
            raise UserError("the workgroup has no limit of what a query may scan", place=self._workgroup, hint=hint)

    def _start(self, statement: str) -> str:
        if (size := len(statement.encode())) > MOST_BYTES:
            message = f"the statement has {size:,} bytes as Athena is asked, which takes {MOST_BYTES:,}"
            raise UserError(message, place="--engine athena", hint="Ask in several statements.")
        started = self._call(
            "start_query_execution",
            QueryString=statement,
            ClientRequestToken=secrets.token_hex(32),
            QueryExecutionContext={"Catalog": _CATALOG, "Database": self._database},
            WorkGroup=self._workgroup,
        )
        return str(started["QueryExecutionId"])

    def _answer(self, statement: str) -> AthenaRows:
        query = self._start(statement)
        self._finished(query)
        return self._rows(query)

    def _finished(self, query: str) -> None:
        """Wait for its end. Whatever ends the wait ends the query."""
        try:
            found = self._followed(query)
        except BaseException:
            with suppress(Exception):  # it may have ended by itself
                self._client.stop_query_execution(QueryExecutionId=query)
            raise
        bytes_ = int(found.get("Statistics", {}).get("DataScannedInBytes", 0))
        self.scanned += max(bytes_, _LEAST_BYTES) if found.get("StatementType") != "DDL" else 0
        state, status = found["Status"]["State"], found["Status"]
        if state != "SUCCEEDED":
            error = status.get("AthenaError", {})
            reason = error.get("ErrorMessage") or status.get("StateChangeReason") or "it says no reason"
            hint = "Athena may answer the next time." if error.get("Retryable") else "Change the question."
            raise UserError(f"the query ended as {state}: {reason}", place=f"Athena query {query}", hint=hint)

    def _followed(self, query: str) -> Any:
        pause = FIRST_LOOK
        while True:
            found = self._call("get_query_execution", QueryExecutionId=query)["QueryExecution"]
            state = found["Status"]["State"]
            if state not in ("QUEUED", "RUNNING"):
                if state not in ("SUCCEEDED", "FAILED", "CANCELLED"):
                    raise UnexpectedAnswer(f"{state!r} is not a state of a query", place=query)
                return found
            if self._stop.wait(pause):
                raise Stopped("asked to stop while Athena was at work", place=f"Athena query {query}")
            pause = min(LONGEST_PAUSE, pause * 1.5)

    def _rows(self, query: str) -> AthenaRows:
        """All pages. The first row has the names of the columns."""
        columns: list[tuple[str, int]] = []
        rows: list[tuple[str | None, ...]] = []
        more: dict[str, str] = {}
        while True:
            page = self._call("get_query_results", QueryExecutionId=query, **more)
            found = page["ResultSet"]
            columns = columns or [(each["Type"], int(each.get("Scale", 0))) for each in _info(found)]
            rows += [tuple(each.get("VarCharValue") for each in row["Data"]) for row in found["Rows"]]
            if not page.get("NextToken"):
                break
            more = {"NextToken": page["NextToken"]}
        if not rows or any(len(row) != len(columns) for row in rows):
            raise UnexpectedAnswer("the answer does not have the form of a result", place=f"Athena query {query}")
        return AthenaRows(columns, rows[1:])

    def _call(self, operation: str, **request: Any) -> Any:
        """Made again while Athena is throttled or away, as Patience does it."""
        call: Callable[..., Any] = getattr(self._client, operation)

        def once() -> Any:
            try:
                return call(**request)
            except Exception as error:
                translate(error, f"Athena workgroup {self._workgroup}")

        return self._patience.ask(once)


def _info(found: Any) -> Iterator[Any]:
    yield from found["ResultSetMetadata"]["ColumnInfo"]


def _typed(answer: AthenaRows, schema: pyarrow.Schema) -> pyarrow.Table:
    import pyarrow as pa

    if len(answer.columns) != len(schema):
        raise UnexpectedAnswer(f"the answer has {len(answer.columns)} columns, not {len(schema)}", place="Athena")
    arrays = []
    for number, field in enumerate(schema):
        read = _reader(field, *answer.columns[number])
        values = [_read(read, row[number], field) for row in answer.rows]
        try:
            arrays.append(pa.array(values, field.type))
        except pa.ArrowException as error:
            raise UnexpectedAnswer(f"column {field.name!r}: {error}", place="Athena") from error
    return pa.Table.from_arrays(arrays, schema=schema)


def _read(read: Callable[[str], Any], text: str | None, field: pyarrow.Field) -> Any:
    try:
        return None if text is None else read(text)
    except (ValueError, ArithmeticError, TypeError, KeyError) as error:
        message = f"column {field.name!r}: {text[:80] if text else ''!r} is not a value of {field.type}"
        raise UnexpectedAnswer(message, place="Athena") from error


def _reader(field: pyarrow.Field, kind: str, scale: int) -> Callable[[str], Any]:
    """From a result's text to the value. Raises UserError where Athena gives the column a type that DuckDB does not."""
    import pyarrow as pa

    wanted = field.type
    if pa.types.is_null(wanted):  # NULL without a type, which may have any
        return str
    if pa.types.is_decimal(wanted) and (kind in _WHOLE or (kind == "decimal" and scale >= wanted.scale)):
        return Decimal
    if pa.types.is_integer(wanted) and kind in _WHOLE:
        return int
    if pa.types.is_floating(wanted) and kind in (*_DOUBLE, *_WHOLE, "decimal"):
        return float
    if pa.types.is_date(wanted) and kind == "date":
        return date.fromisoformat
    if pa.types.is_boolean(wanted) and kind == "boolean":
        return {"true": True, "false": False}.__getitem__
    if kind in _TEXT:
        if pa.types.is_string(wanted):
            return str
        if pa.types.is_binary(wanted):
            return bytes.fromhex
        if pa.types.is_nested(wanted):
            return lambda text: _of_json(json.loads(text, parse_float=Decimal, parse_int=Decimal), wanted)
    message = f"column {field.name!r} is {kind} in Athena, and {wanted} in DuckDB"
    raise UserError(message, place="--engine athena", hint="Convert it in the SQL, so that both give one type.")


def _of_json(value: Any, kind: pyarrow.DataType) -> Any:
    """Of a row, Athena's JSON may have the fields by their names, or in their order."""
    import pyarrow as pa

    if value is None:
        return None
    if pa.types.is_list(kind):
        return [_of_json(each, kind.value_type) for each in value]
    if pa.types.is_struct(kind):
        fields = [kind.field(number) for number in range(kind.num_fields)]
        if isinstance(value, dict):
            found = {name.lower(): each for name, each in value.items()}
            value = [found[each.name.lower()] for each in fields]
        return {each.name: _of_json(one, each.type) for each, one in zip(fields, value, strict=True)}
    if pa.types.is_integer(kind):
        return _exactly(int(value), value)
    if pa.types.is_floating(kind):
        return float(value)
    return value


def _exactly(found: int, value: Decimal) -> int:
    if found != value:
        raise ValueError(f"{value} is not whole")
    return found
