"""A stand-in for Redshift's Data API: a client of botocore whose calls are answered here, by sessions of
``RedshiftStandIn``. botocore refuses a request that has not the service's form, and so does this an answer.

What it cannot show: what the service itself allows in a session, and for how long it keeps one.
"""

from __future__ import annotations

import json
import re
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import botocore.session
import psycopg
from botocore import xform_name
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import EndpointConnectionError
from botocore.validate import validate_parameters

from tests.warehouse.redshift_stand_in import RedshiftStandIn

PAGE_ROWS = 50


@dataclass
class DataApi:
    """``connect`` gives a connection to the database. ``lose``: the answers to so many of the next calls that run a
    statement are lost; ``forget`` ends all sessions. With ``commits_each`` no transaction is kept open. ``in_the_way``:
    by which of the next COMMITs, counted from 1, another transaction has written the same table.
    """

    connect: Callable[[], RedshiftStandIn]
    lose: int = 0
    commits_each: bool = False
    in_the_way: set[int] = field(default_factory=set)
    commits: int = 0
    sessions: dict[str, RedshiftStandIn] = field(default_factory=dict)
    statements: dict[str, dict[str, Any]] = field(default_factory=dict)  # by token
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def client(self, *_: Any) -> Any:
        session = botocore.session.Session()
        session.set_credentials("local", "local")
        client = session.create_client("redshift-data", region_name="eu-west-1")
        client.meta.events.register("before-call.redshift-data.*", self._answer)
        return client

    def forget(self) -> None:
        with self.lock:
            for connection in self.sessions.values():
                connection.close()
            self.sessions.clear()

    def _answer(self, model: Any, params: dict[str, Any], **_: Any) -> Any:
        request = json.loads(params["body"])
        with self.lock:
            self.calls.append((model.name, request))
            code, answer = 200, {}
            try:
                answer = getattr(self, f"_{xform_name(model.name)}")(request)
                validate_parameters(answer, model.output_shape)
            except KeyError as missing:
                code = 400
                said = f"Session or statement is not available: {missing}"
                answer = {"Error": {"Code": "ResourceNotFoundException", "Message": said}}
            if model.name == "ExecuteStatement" and self.lose:
                self.lose -= 1
                raise EndpointConnectionError(endpoint_url="https://redshift-data")
        answer["ResponseMetadata"] = {"HTTPStatusCode": code}
        return AWSResponse("https://redshift-data", code, HTTPHeaders(), None), answer

    def _execute_statement(self, request: dict[str, Any]) -> dict[str, Any]:
        if "SessionId" in request:
            assert not request.keys() & {"WorkgroupName", "ClusterIdentifier", "Database"}
        known = self.statements.get(request["ClientToken"])
        if known is None:
            name = request.get("SessionId") or self._session()
            known = self._run(self.sessions[name], request) | {"SessionId": name}
            self.statements[request["ClientToken"]] = known
            if not request["SessionKeepAliveSeconds"]:
                self.sessions.pop(name).close()
        return {name: known[name] for name in ("Id", "SessionId", "CreatedAt")}

    def _describe_statement(self, request: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in self._statement(request).items() if name not in ("columns", "rows")}

    def _get_statement_result(self, request: dict[str, Any]) -> dict[str, Any]:
        found, start = self._statement(request), int(request.get("NextToken", 0))
        page = {
            "Records": found["rows"][start : start + PAGE_ROWS],
            "ColumnMetadata": [{"name": name} for name in found["columns"]],
            "TotalNumRows": len(found["rows"]),
        }
        more = {"NextToken": str(start + PAGE_ROWS)} if start + PAGE_ROWS < len(found["rows"]) else {}
        return {**page, **more}

    def _statement(self, request: dict[str, Any]) -> dict[str, Any]:
        return next(each for each in self.statements.values() if each["Id"] == request["Id"])

    def _session(self) -> str:
        name = str(uuid.uuid4())
        self.sessions[name] = self.connect()
        return name

    def _run(self, connection: RedshiftStandIn, request: dict[str, Any]) -> dict[str, Any]:
        values = {each["name"]: each["value"] for each in request.get("Parameters", ())}
        sql = request["Sql"]
        if self.commits_each and sql in ("BEGIN", "ROLLBACK", "COMMIT"):
            sql = "SELECT 1"
        if values:
            sql = re.sub(r":(p\d+)\b", r"%(\1)s", sql.replace("%", "%%"))
        if sql == "COMMIT":
            self.commits += 1
            sql = "ROLLBACK" if self.commits in self.in_the_way else sql
        made: dict[str, Any] = {"Id": str(uuid.uuid4()), "CreatedAt": datetime.now(UTC), "HasResultSet": False}
        try:
            cursor = connection.execute(sql, values or None)
            if request["Sql"] == "COMMIT" and sql == "ROLLBACK":
                said = "ERROR: 1023\nDetail: Serializable isolation violation on table - 108073"
                return made | {"Status": "FAILED", "Error": said}
        except psycopg.Error as error:
            return made | {"Status": "FAILED", "Error": f"ERROR: {error}"}
        made |= {"Status": "FINISHED", "ResultRows": max(cursor.rowcount, -1)}
        if cursor.description:
            rows = [[_field(value) for value in row] for row in cursor.fetchall()]
            made |= {"HasResultSet": True, "columns": [each.name for each in cursor.description], "rows": rows}
        return made


def _field(value: Any) -> dict[str, Any]:
    if value is None:
        return {"isNull": True}
    if isinstance(value, bool):
        return {"booleanValue": value}
    if isinstance(value, int):
        return {"longValue": value}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, Decimal):
        return {"stringValue": f"{value:f}"}
    return {"stringValue": str(value)}
