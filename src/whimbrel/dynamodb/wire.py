"""One signed request to DynamoDB, or to Kinesis, over a kept connection, with as little Python in between as possible.

Bodies go in and come out as bytes; what they mean is the caller's business. Signing is AWS Signature Version 4
(https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html): everything that does not
depend on the body is kept for the second in which it is true.
"""

from __future__ import annotations

import time
import zlib
from dataclasses import dataclass, field
from hashlib import sha256
from hmac import digest as hmac_digest
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import orjson

from whimbrel import __version__
from whimbrel.dynamodb.http import Broken, Connections, Damaged, HttpAnswer
from whimbrel.dynamodb.loop import complete
from whimbrel.dynamodb.refusals import EXPIRED, UNEXPECTED_HINT, error_for
from whimbrel.dynamodb.session import Credentials, KnownSession, KnownTarget, Session
from whimbrel.errors import RequestRefused, TargetUnreachable, UnexpectedAnswer, WhimbrelError
from whimbrel.project import Target

if TYPE_CHECKING:
    from hashlib import _Hash as Hash


class Service(NamedTuple):
    """How one of AWS's services is spoken to."""

    name: str  # for botocore, and in a signature's scope
    operations: str  # what stands before an operation in x-amz-target
    content_type: str


DYNAMODB = Service("dynamodb", "DynamoDB_20120810", "application/x-amz-json-1.0")
KINESIS = Service("kinesis", "Kinesis_20131202", "application/x-amz-json-1.1")


class _Head(NamedTuple):
    """What is constant for one operation within one second."""

    canonical: Hash  # of the canonical request up to the body's hash
    request: bytes  # the HTTP head up to the signature


@dataclass(frozen=True, slots=True)
class _Moment:
    """What is constant for all requests within one second. Its repr has nothing secret."""

    second: int
    date: str
    credentials: Credentials
    scope: str
    inner: Hash = field(repr=False)  # HMAC with the day's signing key, of the string to sign up to the request's hash
    outer: Hash = field(repr=False)  # HMAC's other hash, with the same key
    heads: dict[str, _Head] = field(repr=False)  # with the session token, where there is one


class DynamoClient:
    """DynamoDB behind one Target, or another service. Thread-safe: a call takes an idle connection or opens one.

    Every call that whimbrel makes may be repeated, so a connection that broke while idle costs one silent retry.
    """

    def __init__(
        self,
        target: Target,
        service: Service = DYNAMODB,
        *,
        connect_timeout: float = 5.0,
        timeout: float = 30.0,
        known: KnownTarget | None = None,
    ) -> None:
        """Timeouts in seconds. ``known`` is what another client of this target says. Raises UserError when no region,
        endpoint or credentials can be found.
        """
        self._service = service
        self._session = KnownSession(target, service.name, known) if known else Session(target, service.name)
        self.endpoint = self._session.endpoint
        url = urlsplit(self.endpoint)
        self._host = url.netloc
        self._path = url.path or "/"
        self._connections = Connections(url, self._session.ca_bundle, connect_timeout, timeout)
        self._moment = self._new_moment(int(time.time()))

    def known(self) -> KnownTarget:
        """For the client of a worker. Raises what Session's ``credentials`` does."""
        session = self._session
        return KnownTarget(session.region, session.endpoint, session.ca_bundle, session.credentials())

    @property
    def unanswered(self) -> set[int]:
        """Of ``whose`` a call had no answer that says what became of it, until who cares takes them out."""
        return self._connections.unanswered

    def call(self, operation: str, body: bytes) -> bytes:
        """As ``ask``; the calling thread waits for the answer."""
        return complete(self.ask(operation, body))

    async def ask(self, operation: str, body: bytes) -> bytes:
        """DynamoDB's answer to ``operation`` ("BatchWriteItem") with a JSON ``body``.

        Raises Throttled, TargetUnreachable (no answer or a 5xx), UnexpectedAnswer (a damaged one, or one that is not
        DynamoDB's), PrivilegeError or RequestRefused.
        """
        again = False
        while True:
            try:
                answer = await self._connections.exchange(self._signed(operation, body))
            except Broken as error:
                raise self._without_answer(operation, error) from error
            self._check(operation, answer)
            if answer.status == 200:
                return answer.body
            refusal = self._refusal(operation, answer)
            if again or not (isinstance(refusal, RequestRefused) and refusal.code in EXPIRED):
                raise refusal
            again = True
            self._session.reload()
            self._moment = self._new_moment(int(time.time()))

    def close(self) -> None:
        """Close every connection; calls under way in other threads end with TargetUnreachable."""
        self._connections.close()

    def unexpected(self, operation: str, reason: str) -> UnexpectedAnswer:
        """The error for an answer to ``operation`` that is not known to be a success."""
        message = f"the answer does not have the documented form: {reason}"
        return UnexpectedAnswer(message, place=self._place(operation), hint=UNEXPECTED_HINT)

    def _without_answer(self, operation: str, error: Broken) -> WhimbrelError:
        if isinstance(error, Damaged):
            return self.unexpected(operation, str(error))
        return TargetUnreachable(str(error), place=self._place(operation))

    def _check(self, operation: str, answer: HttpAnswer) -> None:
        if answer.crc32 is not None and answer.crc32 != zlib.crc32(answer.body):
            raise self.unexpected(operation, "its checksum does not match")
        if answer.status == 200 and not answer.body.startswith(b"{"):
            raise self.unexpected(operation, f"it is not a JSON object but {answer.body[:40]!r}")

    def _refusal(self, operation: str, answer: HttpAnswer) -> WhimbrelError:
        code, message = _code_and_message(answer)
        return error_for(answer.status, code, message, self._place(operation))

    def _place(self, operation: str) -> str:
        return f"{operation} at {self.endpoint}"

    def _signed(self, operation: str, body: bytes) -> bytes:
        now = int(time.time())
        moment = self._moment
        if moment.second != now:
            moment = self._moment = self._new_moment(now)
        head = moment.heads.get(operation)
        if head is None:
            head = moment.heads[operation] = self._new_head(operation, moment)
        canonical, inner, outer = head.canonical.copy(), moment.inner.copy(), moment.outer.copy()
        canonical.update(sha256(body).hexdigest().encode())
        inner.update(canonical.hexdigest().encode())
        outer.update(inner.digest())
        return b"%b%b\r\nContent-Length: %d\r\n\r\n%b" % (
            head.request,
            outer.hexdigest().encode(),
            len(body),
            body,
        )

    def _new_moment(self, now: int) -> _Moment:
        date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        credentials = self._session.credentials()
        scope = f"{date[:8]}/{self._session.region}/{self._service.name}/aws4_request"
        key = _signing_key(credentials.secret_key, scope)
        inner, outer = _keyed(key)
        inner.update(f"AWS4-HMAC-SHA256\n{date}\n{scope}\n".encode())
        return _Moment(now, date, credentials, scope, inner, outer, {})

    def _new_head(self, operation: str, moment: _Moment) -> _Head:
        signed = {"content-type": self._service.content_type, "host": self._host, "x-amz-date": moment.date}
        if moment.credentials.token:
            signed["x-amz-security-token"] = moment.credentials.token
        signed["x-amz-target"] = f"{self._service.operations}.{operation}"
        names = ";".join(signed)  # already in the order that signing asks for
        canonical = f"POST\n{self._path}\n\n" + "".join(f"{k}:{v}\n" for k, v in signed.items()) + f"\n{names}\n"
        authorization = (
            f"AWS4-HMAC-SHA256 Credential={moment.credentials.access_key}/{moment.scope}, SignedHeaders={names}, "
            "Signature="
        )
        lines = [f"POST {self._path} HTTP/1.1", *(f"{k}: {v}" for k, v in signed.items())]
        lines += [f"User-Agent: whimbrel/{__version__}", "Accept-Encoding: identity", f"Authorization: {authorization}"]
        return _Head(sha256(canonical.encode()), "\r\n".join(lines).encode())


def _signing_key(secret: str, scope: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac_digest(key, part.encode(), "sha256")
    return key


def _keyed(key: bytes) -> tuple[Hash, Hash]:
    """HMAC's two hashes with the key in them (RFC 2104): to copy them is quicker than to begin with the key."""
    padded = key.ljust(sha256().block_size, b"\0")
    return sha256(bytes(each ^ 0x36 for each in padded)), sha256(bytes(each ^ 0x5C for each in padded))


def _code_and_message(answer: HttpAnswer) -> tuple[str, str]:
    try:
        fields = orjson.loads(answer.body)
        code = str(fields["__type"]).rpartition("#")[2]
        return code, str(fields.get("message") or fields.get("Message") or "")
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return f"HTTP {answer.status}", repr(answer.body[:80])
