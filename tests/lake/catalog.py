"""A stand-in for Glue's catalog and for Athena, over a lake in a local S3.

It checks each request and each of its own answers against botocore's models of the services, so that an unknown or
missing member fails. What Athena is asked it reads as Athena's SQL, over exactly the files of the Iceberg snapshots
that the statement names, and has DuckDB answer; the form of results is Athena's.
"""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import botocore.session
import duckdb
import pyarrow as pa
import sqlglot
from sqlglot import exp

from tests.lake.iceberg_judge import Judged
from tests.lake.machines import Bucketed
from tests.lake.recovery import Refusal, check_request, check_shape

MODELS = {
    "AWSGlue": botocore.session.get_session().get_service_model("glue"),
    "AmazonAthena": botocore.session.get_session().get_service_model("athena"),
}
NAMES_OF = {"AWSGlue": "glue", "AmazonAthena": "athena"}
# Functions of Athena, as DuckDB has them.
MACROS = """
CREATE MACRO element_at(list, place) AS list_extract(list, place);
CREATE MACRO json_format(value) AS value::VARCHAR;
CREATE MACRO to_hex(value) AS hex(value);
CREATE MACRO nan() AS 'nan'::DOUBLE;
"""
NAMES = {"BIGINT": "bigint", "HUGEINT": "bigint", "INTEGER": "integer", "DOUBLE": "double", "VARCHAR": "varchar"}
NAMES |= {"BOOLEAN": "boolean", "JSON": "varchar", "DATE": "date"}


class Catalog:
    """A context manager: ``endpoint`` is that of both. ``refused`` has codes with which the next calls of an operation
    are refused; ``looks`` is how often a query is under way before it ends; ``outcome`` is why it fails, "" if it does
    not; ``limit`` is the workgroup's; ``page`` the rows of a page.
    """

    def __init__(self, bucket: Bucketed, database: str = "whimbrel") -> None:
        self.bucket, self.database = bucket, database
        self.refused: dict[str, list[str]] = {}
        self.looks, self.outcome, self.limit, self.page, self.scanned = 1, "", 10**9, 3, 25_000_000
        self.retyped: dict[str, str] = {}  # what a column's type is in Athena, where it is not as usual
        self.counts: Counter[str] = Counter()
        self.tables: dict[str, dict[str, Any]] = {}
        self.queries: dict[str, dict[str, Any]] = {}
        self.meanwhile: Any = None  # called before a table is updated
        self._lock = threading.RLock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (_Handler,), {"catalog": self}))
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Catalog:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def settings(self) -> str:
        """For [lake]."""
        return f'glue_endpoint = "{self.endpoint}"\nathena_endpoint = "{self.endpoint}"\n'

    def judged(self, name: str) -> Judged:
        return Judged(self.tables[name]["Parameters"]["metadata_location"], self._read)

    def _read(self, location: str) -> bytes:
        return self.bucket.get(location.removeprefix(f"s3://{self.bucket.name}/"))

    def answer(self, service: str, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        model = MODELS[service].operation_model(operation)
        check_request(NAMES_OF[service], operation, request)
        self.counts[f"{'glue' if service == 'AWSGlue' else 'athena'}:{operation}"] += 1
        if codes := self.refused.get(operation):
            code = codes.pop(0)
            raise Refusal(code, "as the test says", 500 if code.startswith("Internal") else 400)
        name = re.sub("(?<!^)(?=[A-Z])", "_", operation).lower()
        found: dict[str, Any] = getattr(self, f"_{name}")(request)
        check_shape(found, model.output_shape)
        return found

    # Glue

    def _get_database(self, request: dict[str, Any]) -> dict[str, Any]:
        self._check_database(request["Name"])
        return {"Database": {"Name": self.database}}

    def _get_table(self, request: dict[str, Any]) -> dict[str, Any]:
        self._check_database(request["DatabaseName"])
        if request["Name"] not in self.tables:
            raise Refusal("EntityNotFoundException", "Entity Not Found")
        return {"Table": self.tables[request["Name"]]}

    def _create_table(self, request: dict[str, Any]) -> dict[str, Any]:
        self._check_database(request["DatabaseName"])
        table = request["TableInput"]
        with self._lock:
            if table["Name"] in self.tables:
                raise Refusal("AlreadyExistsException", "Table already exists")
            self.tables[table["Name"]] = table | {"DatabaseName": self.database, "VersionId": "0"}
        return {}

    def _update_table(self, request: dict[str, Any]) -> dict[str, Any]:
        table, meanwhile, self.meanwhile = request["TableInput"], self.meanwhile, None
        if meanwhile:
            meanwhile()
        with self._lock:
            now = self.tables[table["Name"]]
            if now["VersionId"] != request["VersionId"]:
                raise Refusal("ConcurrentModificationException", "Update table failed due to concurrent modifications")
            version = str(int(now["VersionId"]) + 1)
            self.tables[table["Name"]] = table | {"DatabaseName": self.database, "VersionId": version}
        return {}

    def _delete_table(self, request: dict[str, Any]) -> dict[str, Any]:
        del self.tables[request["Name"]]
        return {}

    def _check_database(self, name: str) -> None:
        if name != self.database:
            raise Refusal("EntityNotFoundException", f"Database {name} not found.")

    # Athena

    def _get_work_group(self, request: dict[str, Any]) -> dict[str, Any]:
        limit = {"BytesScannedCutoffPerQuery": self.limit} if self.limit else {}
        about = {"Name": request["WorkGroup"], "State": "ENABLED"}
        return {"WorkGroup": about | {"Configuration": limit | {"EnforceWorkGroupConfiguration": True}}}

    def _start_query_execution(self, request: dict[str, Any]) -> dict[str, Any]:
        assert request["QueryExecutionContext"] == {"Catalog": "AwsDataCatalog", "Database": self.database}
        assert len(request["ClientRequestToken"]) >= 32
        with self._lock:
            for identity, query in self.queries.items():
                if query["token"] == request["ClientRequestToken"]:
                    return {"QueryExecutionId": identity}
            identity = f"{len(self.queries):08x}-0000-4000-8000-000000000000"
            self.queries[identity] = {
                "token": request["ClientRequestToken"],
                "text": request["QueryString"],
                "looks": self.looks,
                "state": "QUEUED",
                "workgroup": request["WorkGroup"],
            }
        return {"QueryExecutionId": identity}

    def _get_query_execution(self, request: dict[str, Any]) -> dict[str, Any]:
        query = self.queries[request["QueryExecutionId"]]
        if query["state"] == "QUEUED" and query["looks"]:
            query["looks"] -= 1
            status: dict[str, Any] = {"State": "RUNNING" if query["looks"] else "QUEUED"}
        else:
            status = self._ended(query)
        said = {"QueryExecutionId": request["QueryExecutionId"], "Query": query["text"], "Status": status}
        kind = "DDL" if re.match(r"\s*(CREATE|MSCK)\b", query["text"]) else "DML"
        return {"QueryExecution": said | {"StatementType": kind, "Statistics": {"DataScannedInBytes": self.scanned}}}

    def _ended(self, query: dict[str, Any]) -> dict[str, Any]:
        if query["state"] == "QUEUED":
            try:
                query["table"] = None if re.match(r"\s*(CREATE|MSCK)\b", query["text"]) else self._run(query["text"])
                query["state"], query["why"] = ("FAILED", self.outcome) if self.outcome else ("SUCCEEDED", "")
            except (duckdb.Error, sqlglot.errors.SqlglotError, KeyError) as failed:
                query["state"], query["why"] = "FAILED", f"SYNTAX_ERROR: {failed}"
        if query["state"] != "FAILED":
            return {"State": query["state"]}
        error = {"ErrorCategory": 2, "ErrorType": 1006, "Retryable": False, "ErrorMessage": query["why"]}
        return {"State": "FAILED", "StateChangeReason": query["why"], "AthenaError": error}

    def _stop_query_execution(self, request: dict[str, Any]) -> dict[str, Any]:
        self.queries[request["QueryExecutionId"]]["state"] = "CANCELLED"
        return {}

    def _get_query_results(self, request: dict[str, Any]) -> dict[str, Any]:
        query = self.queries[request["QueryExecutionId"]]
        assert query["state"] == "SUCCEEDED"
        table, types = query["table"]
        rows: list[tuple[Any, ...]] = [tuple(name.lower() for name in table.column_names)]
        rows += [tuple(row.values()) for row in _positional(table)]
        start = int(request.get("NextToken", "0"))
        page = [{"Data": [_datum(value) for value in row]} for row in rows[start : start + self.page]]
        columns = [self._column(name, kind) for name, kind in zip(table.column_names, types, strict=True)]
        more = {"NextToken": str(start + self.page)} if start + self.page < len(rows) else {}
        return {"ResultSet": {"Rows": page, "ResultSetMetadata": {"ColumnInfo": columns}}, **more}

    def _column(self, name: str, kind: str) -> dict[str, Any]:
        about: dict[str, Any] = {"Name": name.lower(), "Label": name.lower(), "Nullable": "UNKNOWN"}
        if found := re.fullmatch(r"DECIMAL\((\d+),(\d+)\)", kind):
            return about | {"Type": "decimal", "Precision": int(found[1]), "Scale": int(found[2])}
        return about | {"Type": self.retyped.get(name, NAMES.get(kind, kind))}

    def _run(self, text: str) -> tuple[pa.Table, list[str]]:
        tree = sqlglot.parse_one(text, read="athena")
        with duckdb.connect() as connection:
            connection.execute(MACROS)
            defined = {each.alias for each in tree.find_all(exp.CTE)}
            for number, table in enumerate(list(tree.find_all(exp.Table))):
                if table.name in defined:
                    continue
                assert table.db == self.database
                snapshot = int(table.args["version"].expression.name)
                connection.register(f"t{number}", self._rows(table.name, snapshot))
                table.set("version", None)
                table.set("db", None)
                table.set("this", exp.to_identifier(f"t{number}"))
            relation = connection.sql(tree.sql("duckdb"))
            return relation.to_arrow_table(), [str(each) for each in relation.types]

    def _rows(self, name: str, snapshot: int) -> pa.Table:
        judged = self.judged(name)
        [found] = [each for each in judged.metadata["snapshots"] if each["snapshot-id"] == snapshot]
        return judged.table(found)


def _positional(table: pa.Table) -> list[dict[str, Any]]:
    return table.rename_columns([str(number) for number in range(table.num_columns)]).to_pylist()


def _datum(value: Any) -> dict[str, str]:
    """As Athena writes it: a NULL has no text."""
    if value is None:
        return {}
    if isinstance(value, bool):
        return {"VarCharValue": str(value).lower()}
    if isinstance(value, float):
        text = repr(value).replace("e+", "E").replace("e-", "E-")
        return {"VarCharValue": {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}.get(text, text)}
    return {"VarCharValue": f"{value:f}" if isinstance(value, Decimal) else str(value)}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    catalog: Catalog

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        service, _, operation = self.headers.get("X-Amz-Target", "").partition(".")
        try:
            self._reply(200, self.catalog.answer(service, operation, request))
        except Refusal as refusal:
            self._reply(refusal.status, {"__type": refusal.code, "message": str(refusal)})
        except AssertionError as error:
            self._reply(400, {"__type": "NotAsTheModelSays", "message": str(error)})

    def _reply(self, status: int, answer: dict[str, Any]) -> None:
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None: ...
