"""A stand-in for point-in-time recovery and ExportTableToPointInTime, in front of a local DynamoDB and S3.

It checks each request and each of its own answers against botocore's model of the service, so that an unknown or
missing member fails. Time is its own: ``advance`` looks at the table and lets minutes pass. Exports are written by the
tests' own writer, as DynamoDB writes them, into S3.
"""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

import botocore.session
from botocore.validate import ParamValidator

from demo.servers import Ministack
from demo.service_model import request_faults
from tests.lake.helper import change, full, write_export

MODEL = botocore.session.get_session().get_service_model("dynamodb")
OURS = {
    "DescribeContinuousBackups",
    "UpdateContinuousBackups",
    "ExportTableToPointInTime",
    "DescribeExport",
    "ListExports",
}
ACCOUNT = "arn:aws:dynamodb:us-east-1:111122223333:table/"


class Refusal(Exception):
    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.status = code, status


class Recovery:
    """A context manager: ``endpoint`` is DynamoDB's for one ``table``.

    ``refused`` has codes with which the next calls of an operation are refused; ``looks`` is how often an export is
    under way before it ends, ``unseen`` how often it is not shown at first; ``outcome`` is a FailureCode, "" for none.
    """

    def __init__(self, ministack: Ministack, s3: Any, table: str) -> None:
        self.table, self.client, self.s3 = table, ministack.client(), s3
        self.arn = ACCOUNT + table
        self.id = self.client.describe_table(TableName=table)["Table"]["TableId"]
        self.now = datetime(2026, 1, 14, 10, 0, 0, 250_000, tzinfo=UTC)
        self.on, self.since = True, self.now - timedelta(days=35)
        self.refused: dict[str, list[str]] = {}
        self.looks, self.unseen, self.outcome, self.damage = 1, 0, "", ""
        self.exports: dict[str, dict[str, Any]] = {}
        self.counts: Counter[str] = Counter()
        self._history: list[tuple[datetime, dict[str, Any]]] = []
        self._lock = threading.RLock()
        handler = type("Bound", (Handler,), {"recovery": self, "upstream": ministack.endpoint})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self.advance(0)

    def __enter__(self) -> Recovery:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def advance(self, minutes: float) -> None:
        """What the table has now it has from now on; then time passes."""
        with self._lock:
            items = self.client.scan(TableName=self.table, ConsistentRead=True)["Items"]
            self._history.append((self.now, {json.dumps([item["pk"], item["sk"]]): item for item in items}))
            self.now += timedelta(minutes=minutes)

    def answer(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            self.counts[operation] += 1
            model = MODEL.operation_model(operation)
            check_request("dynamodb", operation, request)
            if codes := self.refused.get(operation):
                raise Refusal(codes.pop(0), "as the test says")
            name = re.sub("(?<!^)(?=[A-Z])", "_", operation).lower()
            found: dict[str, Any] = getattr(self, f"_{name}")(request)
            check_shape(found, model.output_shape)
            return found

    def _describe_continuous_backups(self, request: dict[str, Any]) -> dict[str, Any]:
        self._check_table(request["TableName"])
        recovery: dict[str, Any] = {"PointInTimeRecoveryStatus": "ENABLED" if self.on else "DISABLED"}
        if self.on:
            earliest, latest = max(self.since, self.now - timedelta(days=35)), self.now
            recovery |= {"RecoveryPeriodInDays": 35, "EarliestRestorableDateTime": earliest.timestamp()}
            recovery |= {"LatestRestorableDateTime": latest.timestamp()}
        about = {"ContinuousBackupsStatus": "ENABLED", "PointInTimeRecoveryDescription": recovery}
        return {"ContinuousBackupsDescription": about}

    def _update_continuous_backups(self, request: dict[str, Any]) -> dict[str, Any]:
        self.on, self.since = request["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"], self.now
        return self._describe_continuous_backups(request)

    def _export_table_to_point_in_time(self, request: dict[str, Any]) -> dict[str, Any]:
        if request["TableArn"].rpartition("/")[2] != self.table:
            raise Refusal("TableNotFoundException", "Table not found")
        if not self.on:
            raise Refusal("PointInTimeRecoveryUnavailableException", "Point in time recovery is not enabled")
        token = request["ClientToken"]
        for export in self.exports.values():
            if export["ClientToken"] == token:
                assert export["request"] == request, "one token is for one request"
                return {"ExportDescription": _shown(export)}
        since, until = self._times(request)
        number = int(self.now.timestamp() * 1000) + len(self.exports)
        identity = f"{number:014d}-{number % 0xFFFFFFFF:08x}"
        kind = request.get("ExportType", "FULL_EXPORT")
        export = {
            "ExportArn": f"{self.arn}/export/{identity}",
            "ExportStatus": "IN_PROGRESS",
            "StartTime": self.now.timestamp(),
            "TableArn": self.arn,
            "TableId": "00000000-0000-0000-0000-000000000000",
            "ClientToken": token,
            "S3Bucket": request["S3Bucket"],
            "S3Prefix": request.get("S3Prefix", ""),
            "S3SseAlgorithm": "AES256",
            "ExportFormat": request.get("ExportFormat", "DYNAMODB_JSON"),
            "ExportType": kind,
            **({"IncrementalExportSpecification": request["IncrementalExportSpecification"]} if since else {}),
            **({} if since else {"ExportTime": until.timestamp()}),
            "request": request,
            "times": (since, until),
            "looks": self.looks,
            "unseen": self.unseen,
        }
        self.exports[export["ExportArn"]] = export
        return {"ExportDescription": _shown(export)}

    def _describe_export(self, request: dict[str, Any]) -> dict[str, Any]:
        export = self.exports.get(request["ExportArn"])
        if export is None or export["unseen"] > 0:
            if export:
                export["unseen"] -= 1
            raise Refusal("ExportNotFoundException", "Export not found")
        if export["ExportStatus"] == "IN_PROGRESS":
            export["looks"] -= 1
            if export["looks"] < 0:
                self._finish(export)
        return {"ExportDescription": _shown(export)}

    def _list_exports(self, request: dict[str, Any]) -> dict[str, Any]:
        """One a page."""
        arns, at = list(self.exports), int(request.get("NextToken", "0"))
        found = [{"ExportArn": arn, "ExportStatus": self.exports[arn]["ExportStatus"]} for arn in arns[at : at + 1]]
        more = {"NextToken": str(at + 1)} if at + 1 < len(arns) else {}
        return {"ExportSummaries": found, **more}

    def _times(self, request: dict[str, Any]) -> tuple[datetime | None, datetime]:
        window = request.get("IncrementalExportSpecification")
        if window is None:
            return None, self.now
        since, until = (datetime.fromtimestamp(window[name], UTC) for name in ("ExportFromTime", "ExportToTime"))
        fits = timedelta(minutes=15) <= until - since <= timedelta(hours=24)
        if not fits or until > self.now or since < max(self.since, self.now - timedelta(days=35)):
            raise Refusal("InvalidExportTimeException", f"the window {since} to {until} cannot be exported")
        return since, until

    def _finish(self, export: dict[str, Any]) -> None:
        if self.outcome:
            export |= {"ExportStatus": "FAILED", "FailureCode": self.outcome, "FailureMessage": "as the test says"}
            return
        since, until = export["times"]
        lines = self._lines(since, until)
        identity, prefix = export["ExportArn"].rpartition("/")[2], export["S3Prefix"]
        with TemporaryDirectory() as folder:
            root, below = Path(folder), f"{prefix}/" if prefix else ""
            view = export.get("IncrementalExportSpecification", {}).get("ExportViewType", "NEW_AND_OLD_IMAGES")
            write_export(
                root,
                identity,
                _iso(until),
                lines,
                since=_iso(since) if since else "",
                prefix=below,
                view=view,
                arn=self.arn,
                table_id=self.id,
            )
            for path in sorted(root.rglob("*")):
                if path.is_file():
                    data = path.read_bytes()
                    if self.damage and self.damage in path.name:
                        data = data[:-1] + b"x"
                    key = f"{below}{path.relative_to(root).as_posix()}"
                    self.s3.put_object(Bucket=export["S3Bucket"], Key=key, Body=data)
        export |= {"ExportStatus": "COMPLETED", "ItemCount": len(lines), "EndTime": self.now.timestamp()}
        export |= {"BilledSizeBytes": 10_000_000}
        export["ExportManifest"] = f"{below}AWSDynamoDB/{identity}/manifest-summary.json"

    def _lines(self, since: datetime | None, until: datetime) -> list[Any]:
        now = self._as_of(until)
        if since is None:
            return [full(**item) for item in now.values()]
        before = self._as_of(since)
        changed = [key for key in {**before, **now} if before.get(key) != now.get(key)]
        return [
            change({name: (now.get(key) or before[key])[name] for name in ("pk", "sk")}, now.get(key))
            for key in changed
        ]

    def _as_of(self, moment: datetime) -> dict[str, Any]:
        """What is written at a moment is not in an export that ends there."""
        before = (items for since, items in reversed(self._history) if since < moment)
        return next(before, self._history[0][1])

    def _check_table(self, name: str) -> None:
        if name != self.table:
            raise Refusal("TableNotFoundException", "Table not found")


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _shown(export: dict[str, Any]) -> dict[str, Any]:
    hidden = ("request", "times", "looks", "unseen")
    return {name: value for name, value in export.items() if name not in hidden}


def check_request(service: str, operation: str, request: dict[str, Any]) -> None:
    """Against the model, with its limits, which botocore leaves to the service."""
    faults = request_faults(service, operation, request)
    assert not faults, "; ".join(faults)


def check_shape(value: dict[str, Any], shape: Any) -> None:
    """Against the model, with its enumerations, which botocore leaves to the service."""
    report = ParamValidator().validate(value, shape)
    assert not report.has_errors(), report.generate_report()
    _check_words(value, shape)


def _check_words(value: Any, shape: Any) -> None:
    if shape.type_name == "structure":
        assert value.keys() <= shape.members.keys(), value.keys() - shape.members.keys()
        for name, each in value.items():
            _check_words(each, shape.members[name])
    elif shape.type_name == "list":
        for each in value:
            _check_words(each, shape.member)
    elif getattr(shape, "enum", None):
        assert value in shape.enum, (value, shape.enum)


class Handler(BaseHTTPRequestHandler):
    """Answers OURS by ``recovery``, and hands the rest on to ``upstream``."""

    protocol_version = "HTTP/1.1"
    recovery: Recovery
    upstream: str

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        operation = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
        if operation in OURS:
            self._ours(operation, json.loads(body))
        else:
            self.recovery.counts[operation] += 1
            self._forward(body, operation)

    def _ours(self, operation: str, request: dict[str, Any]) -> None:
        try:
            self._reply(200, json.dumps(self.recovery.answer(operation, request)).encode())
        except Refusal as refusal:
            self._refuse(refusal.status, refusal.code, str(refusal))
        except AssertionError as error:
            self._refuse(400, "NotAsTheModelSays", str(error))

    def _refuse(self, status: int, code: str, message: str) -> None:
        answer = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": message}
        self._reply(status, json.dumps(answer).encode())

    def _forward(self, body: bytes, operation: str) -> None:
        where = urlsplit(self.upstream)
        connection = HTTPConnection(where.hostname or "", where.port, timeout=30)
        try:
            connection.request("POST", self.path, body, dict(self.headers))
            answer = connection.getresponse()
            data, crc = answer.read(), answer.headers.get("x-amz-crc32", "")
            if operation == "DescribeTable" and answer.status == 200:
                found = json.loads(data)
                found["Table"]["TableArn"], crc = self.recovery.arn, ""
                data = json.dumps(found).encode()
            self._reply(answer.status, data, crc)
        finally:
            connection.close()

    def _reply(self, status: int, data: bytes, crc: str = "") -> None:
        with suppress(BrokenPipeError, ConnectionResetError):
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.0")
            self.send_header("Content-Length", str(len(data)))
            if crc:
                self.send_header("x-amz-crc32", crc)
            self.end_headers()
            self.wfile.write(data)

    def log_message(self, *_: object) -> None: ...
