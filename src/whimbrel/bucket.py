"""Objects of S3 below a prefix: each is written once and whole, and never over another, unless by ``replace``.

A name is taken by a conditional put, also of an object in many parts. So an object that is there is whole, whatever
became of the process that wrote it, and of two that write the same name one knows that it came second. So does one of
two that replace the same version of an object.

Every call may be made again, and is while S3 does not answer, for as long as PATIENCE says.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache, partial
from io import BytesIO
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, Any, NamedTuple, TypeVar

from whimbrel.dynamodb.pace import Backoff
from whimbrel.dynamodb.refusals import EXPIRED, error_for
from whimbrel.dynamodb.session import Session, translate
from whimbrel.errors import PrivilegeError, RequestRefused, TargetUnreachable
from whimbrel.patience import Patience
from whimbrel.project import Store, Target

Answered = TypeVar("Answered")

PART_BYTES = 8 << 20  # of an object that is put in parts; S3 wants 5 MiB at least, and takes 10,000 parts
HELD_BYTES = 32 << 20  # of an object that is held in memory to be read; a larger one goes through a file
_PIECE = 1 << 20
_TRIES = 6  # of a put that meets another one under way
_AT_ONCE = 1_000  # objects that one request removes
_NEW = {"IfNoneMatch": "*"}
_TAKEN, _MEETS = "PreconditionFailed", "ConditionalRequestConflict"
_GONE = frozenset({"NoSuchKey", "404", "NotFound"})
_NO_UPLOAD = "NoSuchUpload"
_OF_HEAD = "400"  # all that an answer to HEAD says of keys that have expired
_AWAY = frozenset({"InternalError", "ServiceUnavailable", "SlowDown"})
_OURS = "whimbrel"  # in the metadata of an object in parts: which upload it is of


class Bucket:
    """The objects of a Store; names are relative to its prefix. Thread-safe.

    Every call raises TargetUnreachable and Throttled (after PATIENCE), PrivilegeError, RequestRefused and Stopped, with
    the object's URL.
    """

    def __init__(self, store: Store, target: Target, patience: float = 0.0, call_seconds: float = 0.0) -> None:
        """``patience``: for how many seconds it is tried again, while S3 does not answer; 0: for PATIENCE. A call waits
        ``call_seconds`` for its connection, and for each part of the answer; 0: as long as boto3 does.
        """
        self.store, self.target, self._patience = store, target, Patience("S3", patience)
        self._call_seconds = call_seconds
        self._lock = threading.Lock()
        self._client: Any = None

    def attend(self, stop: threading.Event) -> None:
        """From here on, whoever waits for S3 ends with Stopped when ``stop`` is set."""
        self._patience.attend(stop)

    def url(self, name: str) -> str:
        return f"{self.store.url}/{name}"

    def file(self, name: str) -> BucketFile:
        return BucketFile(self.store, self.target, name)

    def put_new(self, name: str, data: bytes) -> bool:
        """Durable when it returns. False where another object has the name, unless it is the same: one of our own tries
        whose answer was lost.
        """
        return self._taken_by(name, "put_object", _NEW, Body=data) or self.get(name) == data

    def get(self, name: str) -> bytes | None:
        """None if the object does not exist."""
        with suppress(FileNotFoundError), self.open(name) as file:
            return file.read()
        return None

    def open(self, name: str) -> IO[bytes]:
        """The whole object, fetched. Raises FileNotFoundError."""
        return self._asked(lambda: self._fetched(name))

    def read(self, name: str) -> tuple[bytes, str]:
        """The object and its version, which ``replace`` takes; ``b""`` and "" where it is not there."""
        with suppress(FileNotFoundError), BytesIO() as file:
            version = self._asked(lambda: self._copied(name, file, {}))
            return file.getvalue(), version
        return b"", ""

    def replace(self, name: str, data: bytes, version: str) -> str:
        """Put ``data`` in place of a version of the object, "" for none. Durable when it returns the new version; ""
        where another one is there.
        """
        self._taken_by(name, "put_object", {"IfMatch": version} if version else _NEW, Body=data)
        found, now = self.read(name)  # also where it was taken: by one of our own tries, whose answer was lost
        return now if found == data else ""

    def copy(self, name: str, file: IO[bytes], most: int = 0) -> None:
        """Write the object into the ``file``, or its first ``most`` bytes. Raises FileNotFoundError."""
        self._asked(lambda: self._copied(name, file, {"Range": f"bytes=0-{most - 1}"} if most else {}))

    def put_file(self, name: str, path: Path) -> None:
        """Durable when it returns. Raises FileExistsError where its name is taken, OSError."""
        new = NewObject(self, name)
        try:
            with path.open("rb") as file:
                while piece := file.read(_PIECE):
                    new.write(piece)
            new.close()
        except BaseException:
            new.abandon()
            raise

    def size(self, name: str) -> int:
        """Bytes. Raises FileNotFoundError."""
        try:
            return int(self.ask("head_object", name)["ContentLength"])
        except PrivilegeError as error:  # an answer to HEAD has no text that says which right it is
            raise PrivilegeError("s3:GetObject is refused", place=self.url(name), hint=error.hint) from error

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Names and sizes, in the order of the names."""
        more: dict[str, str] = {}
        while True:
            page = self._asked(partial(self._page, prefix, more))
            for each in page.get("Contents", ()):
                yield each["Key"].removeprefix(f"{self.store.prefix}/"), int(each["Size"])
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def remove(self, names: Collection[str]) -> None:
        """Those that are gone already, too."""
        left = [{"Key": f"{self.store.prefix}/{name}"} for name in names]
        while left:
            some, left = left[:_AT_ONCE], left[_AT_ONCE:]
            self._asked(partial(self._remove, some))

    def ask(self, operation: str, name: str, **request: Any) -> Any:
        """The answer to a call about one object. Raises FileNotFoundError where it is not there."""
        return self._asked(lambda: self._ask(operation, name, request))

    def _asked(self, call: Callable[[], Answered]) -> Answered:
        """As Patience asks. Where keys have expired, once more with those that are found by then: somebody may write
        new ones into a file.
        """
        try:
            return self._patience.ask(call)
        except RequestRefused as error:
            if error.code not in EXPIRED and error.code != _OF_HEAD:
                raise
        with self._lock:
            self._client = None
        return self._patience.ask(call)

    def _ask(self, operation: str, name: str, request: dict[str, Any]) -> Any:
        try:
            return self._call(operation, name, request)
        except self.client.exceptions.ClientError as error:
            if error.response["Error"]["Code"] in _GONE:
                raise FileNotFoundError(self.url(name)) from error
            translate(error, self.url(name))
        except Exception as error:
            translate(error, self.url(name))

    def _page(self, prefix: str, more: dict[str, str]) -> Any:
        try:
            whole = f"{self.store.prefix}/{prefix}"
            return self.client.list_objects_v2(Bucket=self.store.bucket, Prefix=whole, **more)
        except Exception as error:
            translate(error, self.url(prefix))

    def _remove(self, some: Sequence[dict[str, str]]) -> None:
        try:
            answer = self.client.delete_objects(Bucket=self.store.bucket, Delete={"Objects": some, "Quiet": True})
        except Exception as error:
            translate(error, self.url(""))
        for refused in answer.get("Errors", ()):
            code, place = str(refused.get("Code")), f"s3://{self.store.bucket}/{refused.get('Key')}"
            message = f"an object could not be removed: {refused.get('Message')}"
            raise error_for(503 if code in _AWAY else 400, code, message, place)

    def _taken_by(self, name: str, operation: str, condition: Mapping[str, str], **request: Any) -> bool:
        """Whether the call, which gives an object its name, found the ``condition`` met."""
        return self._asked(lambda: self._try_to_take(name, operation, {**request, **condition}))

    def _try_to_take(self, name: str, operation: str, request: dict[str, Any]) -> bool:
        backoff = Backoff()
        for left in reversed(range(_TRIES)):
            try:
                self._call(operation, name, request)
                return True
            except self.client.exceptions.ClientError as error:
                code = error.response["Error"]["Code"]
                if code == _TAKEN or (code in _GONE and "IfMatch" in request):
                    return False
                if code != _MEETS or not left:  # another put of the name is under way: its end decides
                    translate(error, self.url(name))
            except Exception as error:
                translate(error, self.url(name))
            time.sleep(backoff.next())
        raise AssertionError("the last try returns or raises")

    def _call(self, operation: str, name: str, request: dict[str, Any]) -> Any:
        call: Callable[..., Any] = getattr(self.client, operation)
        return call(Bucket=self.store.bucket, Key=f"{self.store.prefix}/{name}", **request)

    def _fetched(self, name: str) -> IO[bytes]:
        file: IO[bytes] = SpooledTemporaryFile(HELD_BYTES)  # noqa: SIM115
        try:
            self._copied(name, file, {})
            file.seek(0)
        except BaseException:
            file.close()
            raise
        return file

    def _copied(self, name: str, file: IO[bytes], request: dict[str, Any]) -> str:
        """The object's version."""
        file.seek(0)
        file.truncate()
        answer = self._ask("get_object", name, request)
        size, came = int(answer["ContentLength"]), 0
        try:
            with answer["Body"] as body:
                while piece := body.read(_PIECE):
                    came += file.write(piece)
            if came != size:
                raise TargetUnreachable(f"{came} of {size} bytes came", place=self.url(name))
        except Exception as error:
            translate(error, self.url(name))
        return str(answer["ETag"])

    @property
    def client(self) -> Any:
        with self._lock:
            if self._client is None:
                session = Session(replace(self.target, endpoint=self.store.endpoint), "s3")
                self._client = session.service("s3", self._call_seconds)
            return self._client


@lru_cache(16)
def bucket_of(store: Store, target: Target) -> Bucket:
    """One client for all files of a Store: to make one takes a tenth of a second."""
    return Bucket(store, target)


class BucketFile(NamedTuple):
    """An object, used as a Path is used for a file that is made once. It can be sent to another process."""

    store: Store
    target: Target
    key: str

    @property
    def name(self) -> str:
        return self.key.rpartition("/")[2]

    @property
    def bucket(self) -> Bucket:
        return bucket_of(self.store, self.target)

    def __str__(self) -> str:
        return self.bucket.url(self.key)

    def open(self, _mode: str = "rb") -> IO[bytes]:
        """Raises FileNotFoundError."""
        return self.bucket.open(self.key)

    def size(self) -> int:
        """Raises FileNotFoundError."""
        return self.bucket.size(self.key)

    def exists(self) -> bool:
        with suppress(FileNotFoundError):
            return bool(self.size()) or True
        return False

    def unlink(self, missing_ok: bool = True) -> None:
        self.bucket.remove([self.key])

    def create(self) -> NewObject:
        return NewObject(self.bucket, self.key)


class NewObject:
    """An object that is being written: in one put, or in parts where it becomes larger than one."""

    def __init__(self, bucket: Bucket, name: str) -> None:
        self._bucket, self._name = bucket, name
        self._waiting = bytearray()
        self._parts: list[dict[str, Any]] = []
        self._upload = ""
        self._sent = 0
        self._mark = secrets.token_hex(8)

    def write(self, data: bytes) -> None:
        self._waiting += data
        if len(self._waiting) >= PART_BYTES:
            self._send()

    def close(self) -> int:
        """How many bytes it has, durable when it returns. Raises FileExistsError where its name is taken."""
        size = self._sent + len(self._waiting)
        if not self._upload:
            free = self._bucket.put_new(self._name, bytes(self._waiting))
        else:
            if self._waiting:
                self._send()
            free = self._completed()
        if not free:
            raise FileExistsError(self._bucket.url(self._name))
        self._upload, self._waiting = "", bytearray()
        return size

    def abandon(self) -> None:
        """Leave nothing behind. Raises nothing: what a killed process leaves, the bucket's own rule removes."""
        if self._upload:
            with suppress(Exception):
                self._bucket.ask("abort_multipart_upload", self._name, UploadId=self._upload)
        self._upload, self._waiting = "", bytearray()

    def _completed(self) -> bool:
        """Whether its name was free. Where an answer was lost, our own object has it, and the upload is over. It is
        over, too, where it met another put of the name: S3 ends it by a conflict.
        """
        parts = {"UploadId": self._upload, "MultipartUpload": {"Parts": self._parts}}
        try:
            free = self._bucket._taken_by(self._name, "complete_multipart_upload", _NEW, **parts)
            return free or bool(self._is_ours())
        except RequestRefused as error:
            if error.code != _NO_UPLOAD or (ours := self._is_ours()) is None:
                raise
            return ours

    def _is_ours(self) -> bool | None:
        """None if the object does not exist."""
        with suppress(FileNotFoundError):
            found = self._bucket.ask("head_object", self._name)
            return bool(found.get("Metadata", {}).get(_OURS) == self._mark)
        return None

    def _send(self) -> None:
        if not self._upload:
            begun = self._bucket.ask("create_multipart_upload", self._name, Metadata={_OURS: self._mark})
            self._upload = begun["UploadId"]
        number, data = len(self._parts) + 1, bytes(self._waiting)
        self._waiting = bytearray()
        sent = self._bucket.ask("upload_part", self._name, UploadId=self._upload, PartNumber=number, Body=data)
        checksums = {key: value for key, value in sent.items() if key.startswith("Checksum") and key != "ChecksumType"}
        self._parts.append({"PartNumber": number, "ETag": sent["ETag"], **checksums})
        self._sent += len(data)
