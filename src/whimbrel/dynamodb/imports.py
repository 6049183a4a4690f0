"""ImportTable: DynamoDB makes a new table of files in a bucket, without a write unit of the table.

Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/S3DataImport.Requesting.html
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Iterable
from typing import Any, NamedTuple, Protocol

import orjson

from whimbrel.dynamodb.pace import Backoff
from whimbrel.dynamodb.session import translate
from whimbrel.dynamodb.tables import describe
from whimbrel.errors import Locked, Stopped, TargetError, TargetNotEmpty, Throttled, UnexpectedAnswer
from whimbrel.project import Store
from whimbrel.records import Put

MOST_OBJECTS = 50_000
MOST_BYTES = {"us-east-1": 15 << 40, "us-west-2": 15 << 40, "eu-west-1": 15 << 40}  # elsewhere:
MOST_BYTES_ELSEWHERE = 1 << 40
FIRST_LOOK, LONGEST_PAUSE = 0.2, 15.0  # seconds between two looks at an import
UNDER_WAY, COMPLETED = ("IN_PROGRESS", "CANCELLING"), "COMPLETED"

LEVEL = 1  # of zlib: what DynamoDB charges for is what it unpacks
_GZIP = 31  # zlib's window bits for the format of gzip

Wait = Callable[[float], bool]  # for so many seconds; True: asked to stop


class _NewFile(Protocol):
    """What a file of an import is written through: nothing of it is there before ``close``, which raises
    FileExistsError where another one has its name.
    """

    def write(self, data: bytes) -> object: ...
    def close(self) -> int: ...
    def abandon(self) -> object: ...


class ItemFile:
    """Items as gzip-compressed DynamoDB JSON. ``items`` counts what was written."""

    def __init__(self, file: _NewFile) -> None:
        self.items = 0
        self._file = file
        self._packed = zlib.compressobj(LEVEL, zlib.DEFLATED, _GZIP)

    def write(self, puts: Iterable[Put]) -> None:
        """In the order of a hash of their keys, so that neighbours are spread."""
        lines = [(zlib.crc32(orjson.dumps(put.key)), b'{"Item":%b}\n' % orjson.dumps(put.item)) for put in puts]
        self.items += len(lines)
        lines.sort()
        self._file.write(self._packed.compress(b"".join(line for _, line in lines)))

    def close(self) -> None:
        """Durable when it returns. Raises Locked."""
        self._file.write(self._packed.flush())
        try:
            self._file.close()
        except FileExistsError as error:
            hint = "Let the other one continue, or end it."
            raise Locked("another whimbrel has written this file", place=str(error), hint=hint) from error

    def abandon(self) -> None:
        self._file.abandon()


class Imported(NamedTuple):
    """How far an import is. ``failure`` is DynamoDB's code and message, "" while there is none."""

    status: str
    processed: int  # items that were read
    written: int
    errors: int
    failure: str
    log: str

    def has_all(self, items: int) -> bool:
        """The counts decide, not the status."""
        return self.processed == self.written == items and not self.errors

    @property
    def is_over(self) -> bool:
        return self.status not in UNDER_WAY


def folder_of(token: str) -> str:
    """Where the files of an import are, below the prefix of the store."""
    return f"import/{token}/"


def refuse_too_much(sizes: Collection[int], region: str, table: str, hint: str) -> None:
    """Raises TargetError where files of so many bytes are more than one import takes."""
    most = MOST_BYTES.get(region, MOST_BYTES_ELSEWHERE)
    if len(sizes) > MOST_OBJECTS or sum(sizes) > most:
        message = f"{len(sizes):,} files of {sum(sizes):,} bytes; an import takes {MOST_OBJECTS:,} and {most:,}"
        raise TargetError(message, place=table, hint=hint)


def import_request(store: Store, prefix: str, token: str, table: dict[str, Any]) -> dict[str, Any]:
    """``table`` is the request that would make the table; ``prefix`` is below that of the store."""
    return {
        "ClientToken": token,
        "S3BucketSource": {"S3Bucket": store.bucket, "S3KeyPrefix": f"{store.prefix}/{prefix}"},
        "InputFormat": "DYNAMODB_JSON",
        "InputCompressionType": "GZIP",
        "TableCreationParameters": table,
    }


def begin_import(client: Any, request: dict[str, Any], wait: Wait) -> str:
    """The import's ARN. May be repeated with the same token, also when nobody knows whether a call arrived. Raises
    TargetNotEmpty where there is a table that this import did not make, Stopped, and what ``translate`` does.
    """
    table, backoff = request["TableCreationParameters"]["TableName"], Backoff()
    while True:
        try:
            return str(client.import_table(**request)["ImportTableDescription"]["ImportArn"])
        except client.exceptions.ResourceInUseException:
            if arn := _begun_with(client, table, request["ClientToken"]):
                return arn
            raise _is_there(table) from None
        except Exception as error:
            try:
                translate(error, table)
            except Throttled:  # 50 imports at a time, of an account
                if wait(backoff.next()):
                    raise Stopped("asked to stop before the import was begun", place=table) from None


def refuse_table(client: Any, table: str) -> None:
    """Raises TargetNotEmpty where the table is there."""
    try:
        found = describe(client, table)
    except Exception as error:
        translate(error, table)
    if found is not None:
        raise _is_there(table)


def followed(client: Any, arn: str, table: str, wait: Wait, tell: Callable[[Imported], object]) -> Imported:
    """The import at its end. ``tell`` is told how far it is. Raises Stopped."""
    pause = FIRST_LOOK
    while True:
        now = _look(client, arn, table)
        tell(now)
        if now.is_over:
            return now
        if wait(pause):
            raise Stopped("asked to stop while DynamoDB imports; it goes on with that", place=table)
        pause = min(LONGEST_PAUSE, pause * 1.5)


def _look(client: Any, arn: str, table: str) -> Imported:
    try:
        found = client.describe_import(ImportArn=arn)["ImportTableDescription"]
    except Exception as error:
        translate(error, table)
    failure = ": ".join(found[name] for name in ("FailureCode", "FailureMessage") if found.get(name))
    counts = [found.get(name, 0) for name in ("ProcessedItemCount", "ImportedItemCount", "ErrorCount")]
    if not isinstance(found.get("ImportStatus"), str) or not all(isinstance(each, int) for each in counts):
        raise UnexpectedAnswer("the answer does not have the documented form", place=f"DescribeImport {arn}")
    processed, written, errors = counts
    log = str(found.get("CloudWatchLogGroupArn", ""))
    return Imported(found["ImportStatus"], processed, written, errors, failure, log)


def _begun_with(client: Any, table: str, token: str) -> str:
    """The ARN of the import of the table with this token, "" if there is none."""
    try:
        found = describe(client, table)
        more: dict[str, Any] = {"TableArn": found["TableArn"]} if found else {}
        while more:
            page = client.list_imports(**more)
            for each in page.get("ImportSummaryList", ()):
                arn = str(each["ImportArn"])
                if client.describe_import(ImportArn=arn)["ImportTableDescription"].get("ClientToken") == token:
                    return arn
            more = {**more, "NextToken": page["NextToken"]} if page.get("NextToken") else {}
    except Exception as error:
        translate(error, table)
    return ""


def _is_there(table: str) -> TargetNotEmpty:
    return TargetNotEmpty(
        "the table is there, and an import makes its table itself",
        place=table,
        hint='Remove the table, name another one, or set engine = "process" in [load].',
    )
