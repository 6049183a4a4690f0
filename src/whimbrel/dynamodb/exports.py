"""ExportTableToPointInTime: DynamoDB writes a table, or what changed in it, into a bucket, without a read unit.

Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/S3DataExport.HowItWorks.html and botocore's
model of the service.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from whimbrel.dynamodb.pace import Backoff
from whimbrel.dynamodb.session import translate
from whimbrel.errors import RequestRefused, Stopped, TargetUnreachable, Throttled, UnexpectedAnswer, UserError

FIRST_LOOK, LONGEST_PAUSE = 0.5, 30.0  # seconds between two looks at an export
PATIENCE = 3_600.0  # seconds for which DynamoDB may say that it has no room for one more, or not answer
_UNSEEN = 20  # looks at an export that was begun a moment ago, and is not shown yet
_UNDER_WAY, _COMPLETED = "IN_PROGRESS", "COMPLETED"

Wait = Callable[[float], bool]  # for so many seconds; True: asked to stop


class RecoveryWindow(NamedTuple):
    """The times between which a table can be restored, and so exported."""

    earliest: datetime
    latest: datetime


class Exported(NamedTuple):
    """``manifest`` is the key of the export's summary."""

    id: str
    manifest: str
    items: int


def recovery_window(client: Any, table: str, wait: Wait) -> RecoveryWindow | None:
    """None where point-in-time recovery is off. Raises Stopped, what ``translate`` does, and UnexpectedAnswer."""
    found = _patiently(lambda: client.describe_continuous_backups(TableName=table), table, wait)
    try:
        about = found["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]
        if about["PointInTimeRecoveryStatus"] != "ENABLED":
            return None
        return RecoveryWindow(about["EarliestRestorableDateTime"], about["LatestRestorableDateTime"])
    except KeyError as error:
        raise _undocumented("DescribeContinuousBackups", table) from error


def switch_on_recovery(client: Any, table: str, wait: Wait) -> RecoveryWindow:
    """Switch point-in-time recovery on, and wait until the table can be exported. Raises Stopped."""
    on = {"PointInTimeRecoveryEnabled": True}
    _patiently(
        lambda: client.update_continuous_backups(TableName=table, PointInTimeRecoverySpecification=on), table, wait
    )
    backoff = Backoff(FIRST_LOOK, LONGEST_PAUSE)
    while (window := recovery_window(client, table, wait)) is None:
        _pause(wait, backoff.next(), table)
    return window


def begin_export(client: Any, request: dict[str, Any], table: str, wait: Wait) -> str:
    """The export's ARN. May be repeated with the same token for eight hours, also when nobody knows whether a call
    arrived. Raises UserError for a time that DynamoDB does not have any more, Stopped, and what ``translate`` does.
    """
    found = _patiently(lambda: client.export_table_to_point_in_time(**request), table, wait)
    arn = found.get("ExportDescription", {}).get("ExportArn")
    if not isinstance(arn, str) or "/export/" not in arn:
        raise _undocumented("ExportTableToPointInTime", table)
    return arn


def begun_with(client: Any, table_arn: str, token: str, table: str, wait: Wait) -> str:
    """The ARN of the table's export that was begun with this token, "" if there is none. Raises Stopped."""
    for arn in _exports(client, table_arn, table, wait):
        found = _patiently(partial(_described, client, arn, table), table, wait)
        if found.get("ClientToken") == token:
            return arn
    return ""


def followed(client: Any, arn: str, table: str, wait: Wait) -> Exported:
    """The export at its end. Raises RequestRefused with DynamoDB's reason where it has failed, Stopped."""
    pause, unseen = FIRST_LOOK, 0
    while True:
        try:
            found = _patiently(lambda: _described(client, arn, table), table, wait)
        except RequestRefused as error:
            unseen += 1
            if error.code != "ExportNotFoundException" or unseen > _UNSEEN:
                raise
            found = {"ExportStatus": _UNDER_WAY}
        status = found.get("ExportStatus")
        if status == _COMPLETED:
            return _completed(found, arn, table)
        if status != _UNDER_WAY:
            code, said = str(found.get("FailureCode", status)), str(found.get("FailureMessage", "no reason is given"))
            raise RequestRefused(f"the export has failed: {code}: {said}", code=code, place=arn, hint=_AGAIN)
        _pause(wait, pause, table)
        pause = min(LONGEST_PAUSE, pause * 1.5)


_AGAIN = "See that DynamoDB may write into the bucket, and run the same command again: it begins a new export."


def _completed(found: dict[str, Any], arn: str, table: str) -> Exported:
    manifest, items = found.get("ExportManifest"), found.get("ItemCount")
    if not isinstance(manifest, str) or not isinstance(items, int):
        raise _undocumented("DescribeExport", table)
    return Exported(arn.rpartition("/export/")[2], manifest, items)


def _exports(client: Any, table_arn: str, table: str, wait: Wait) -> Iterator[str]:
    more: dict[str, str] = {}
    while True:
        page = _patiently(partial(client.list_exports, TableArn=table_arn, **more), table, wait)
        yield from (str(each["ExportArn"]) for each in page.get("ExportSummaries", ()))
        if not page.get("NextToken"):
            return
        more = {"NextToken": page["NextToken"]}


def _described(client: Any, arn: str, table: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = client.describe_export(ExportArn=arn)["ExportDescription"]
    except KeyError as error:
        raise _undocumented("DescribeExport", table) from error
    except Exception as error:
        translate(error, table)
    return found


def _patiently(call: Callable[[], Any], table: str, wait: Wait) -> Any:
    """What ``call`` gives, which is made again while DynamoDB has no room for one more, or does not answer."""
    backoff, waited = Backoff(FIRST_LOOK, LONGEST_PAUSE), 0.0
    while True:
        try:
            try:
                return call()
            except (Throttled, TargetUnreachable, RequestRefused):
                raise
            except Exception as error:
                translate(error, table)
        except (Throttled, TargetUnreachable):
            if waited >= PATIENCE:
                raise
            waited += (pause := backoff.next())
            _pause(wait, pause, table)
        except RequestRefused as error:
            if error.code in _BY_TIME:
                raise UserError(error.message, place=table, hint=_BY_TIME[error.code]) from error
            raise


_BY_TIME = {
    "InvalidExportTimeException": "Make a full export: whimbrel export TABLE --full",
    "PointInTimeRecoveryUnavailableException": "Switch point-in-time recovery on, or set recovery = true in [lake].",
}


def _pause(wait: Wait, seconds: float, table: str) -> None:
    if wait(seconds):
        raise Stopped("asked to stop; DynamoDB goes on with the export, and the next run follows it", place=table)


def _undocumented(operation: str, table: str) -> UnexpectedAnswer:
    return UnexpectedAnswer(f"{operation}: the answer does not have the documented form", place=table)
