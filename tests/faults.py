"""A proxy before a DynamoDB-compatible server that does to its clients what DynamoDB and networks do.

    with FaultProxy(ministack.endpoint, seed=7) as proxy:
        proxy.add("throttle", probability=0.3)             # until proxy.clear()
        proxy.add("unprocessed", share=0.5, count=10)       # the next ten BatchWriteItem calls
        with proxy.unreachable(): ...                       # nobody listens
        proxy.counts["BatchWriteItem"], proxy.counts["throttle"], proxy.log[-1].items

What a fault leaves out really does not reach the server. Chance comes from ``seed``: the same calls in the same order
meet the same faults.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import socket
import struct
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

Body = dict[str, Any]
_EXCEPTION = "com.amazonaws.dynamodb.v20120810#"


@dataclass
class Fault:
    """One switched-on fault; ``add`` makes it. Names: see ``_KINDS``."""

    kind: str
    probability: float = 1.0
    count: int | None = None  # how often it still happens; None: for ever
    operation: str = ""  # only to this operation
    share: float = 0.5  # of the items or keys that "unprocessed" and "unprocessed_keys" leave out
    seconds: float = 0.1  # that "slow" takes
    code: str = "ValidationException"  # that "refuse" answers
    answer: bytes = b"{}"  # that "odd" gives by HTTP 200, and does nothing
    change: Callable[[Body], object] = lambda answer: answer  # that "changed" makes of the answer: it, or another


@dataclass(frozen=True)
class Logged:
    """One request as it came in, and the fault that it met ("" for none)."""

    operation: str
    body: Body
    fault: str

    @property
    def items(self) -> list[Body]:
        """The items that a write names, or their keys: whole for puts, the key for deletes and updates."""
        if self.operation == "BatchWriteItem":
            return [_named(entry) for entries in self.body["RequestItems"].values() for entry in entries]
        return [self.body.get("Key") or self.body.get("Item") or {}]


@dataclass
class _Answer:
    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


Forward = Callable[[Body], _Answer]


class FaultProxy:
    """An HTTP proxy on 127.0.0.1 with faults that can be switched on and off while it runs."""

    def __init__(self, upstream: str, *, seed: int = 0) -> None:
        self._upstream = urlsplit(upstream)
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._server: ThreadingHTTPServer | None = None
        self._connections: set[socket.socket] = set()
        self.counts: Counter[str] = Counter()  # by operation, and by kind of fault
        self.log: list[Logged] = []
        self.port = self._listen(0)
        self.endpoint = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> FaultProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.go_away()

    def add(self, kind: str, **settings: Any) -> Fault:
        """Switch a fault on; of several that apply to a call, the first that its chance picks happens."""
        assert kind in _KINDS, f"{kind!r} is none of {sorted(_KINDS)}"
        fault = Fault(kind, **settings)
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Switch all faults off."""
        with self._lock:
            self._faults.clear()

    def go_away(self) -> None:
        """Close the listening socket and every connection: new ones are refused."""
        server, self._server = self._server, None
        if server is None:
            return
        server.shutdown()
        server.server_close()
        with self._lock:
            open_connections = list(self._connections)
        for connection in open_connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def come_back(self) -> None:
        """Listen again, at the same port."""
        if self._server is None:
            self._listen(self.port)

    @contextlib.contextmanager
    def unreachable(self) -> Iterator[None]:
        self.go_away()
        try:
            yield
        finally:
            self.come_back()

    def _listen(self, port: int) -> int:
        server = _Server(("127.0.0.1", port), partial(_Handler, self))
        self._server = server
        threading.Thread(target=server.serve_forever, args=(0.01,), name="fault-proxy", daemon=True).start()
        return int(server.server_address[1])

    def pick(self, operation: str) -> Fault | None:
        with self._lock:
            for fault in self._faults:
                if fault.count == 0 or fault.operation not in ("", operation):
                    continue
                if operation not in _KINDS[fault.kind][1] and _KINDS[fault.kind][1]:
                    continue
                if self._random.random() < fault.probability:
                    fault.count = None if fault.count is None else fault.count - 1
                    return fault
        return None

    def chosen(self, things: list[Any], share: float) -> set[int]:
        """Indexes of a share of ``things``: one at least."""
        with self._lock:
            return set(self._random.sample(range(len(things)), max(1, round(len(things) * share))))

    def note(self, operation: str, body: Body, fault: str) -> None:
        with self._lock:
            self.counts[operation] += 1
            self.counts[fault] += bool(fault)
            self.log.append(Logged(operation, body, fault))

    def opened(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.add(connection)

    def closed(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.discard(connection)

    def to_upstream(self) -> http.client.HTTPConnection:
        assert self._upstream.hostname
        return http.client.HTTPConnection(self._upstream.hostname, self._upstream.port, timeout=60)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 128


class _Reset(Exception):
    """End the client's connection with a TCP reset."""


def _throttle(_proxy: FaultProxy, _fault: Fault, _body: Body, _forward: Forward) -> _Answer:
    return _refusal("ProvisionedThroughputExceededException", "The level of configured throughput was exceeded")


def _refuse(_proxy: FaultProxy, fault: Fault, _body: Body, _forward: Forward) -> _Answer:
    return _refusal(fault.code, "refused by the test")


def _odd(_proxy: FaultProxy, fault: Fault, _body: Body, _forward: Forward) -> _Answer:
    return _Answer(200, fault.answer)


def _changed(_proxy: FaultProxy, fault: Fault, body: Body, forward: Forward) -> _Answer:
    return _Answer(200, json.dumps(fault.change(json.loads(forward(body).body))).encode())


def _error_500(_proxy: FaultProxy, _fault: Fault, _body: Body, _forward: Forward) -> _Answer:
    return _json({"__type": _EXCEPTION + "InternalServerError", "message": "the test broke it"}, 500)


def _error_500_after(_proxy: FaultProxy, _fault: Fault, body: Body, forward: Forward) -> _Answer:
    forward(body)
    return _json({"__type": _EXCEPTION + "InternalServerError", "message": "the test broke it"}, 500)


def _reset_before(_proxy: FaultProxy, _fault: Fault, _body: Body, _forward: Forward) -> _Answer:
    raise _Reset


def _reset_after(_proxy: FaultProxy, _fault: Fault, body: Body, forward: Forward) -> _Answer:
    forward(body)
    raise _Reset


def _slow(_proxy: FaultProxy, fault: Fault, body: Body, forward: Forward) -> _Answer:
    time.sleep(fault.seconds)
    return forward(body)


def _truncate(_proxy: FaultProxy, _fault: Fault, body: Body, forward: Forward) -> _Answer:
    answer = forward(body)
    length = str(len(answer.body))
    return _Answer(answer.status, answer.body[:-1], {"Content-Length": length, "Connection": "close"})


def _wrong_crc(_proxy: FaultProxy, _fault: Fault, body: Body, forward: Forward) -> _Answer:
    answer = forward(body)
    answer.headers["x-amz-crc32"] = str(zlib.crc32(answer.body) ^ 1)
    return answer


def _unprocessed(proxy: FaultProxy, fault: Fault, body: Body, forward: Forward) -> _Answer:
    """Forward some of a BatchWriteItem's requests; the others come back as UnprocessedItems."""
    flat = [(table, entry) for table, entries in body["RequestItems"].items() for entry in entries]
    out = proxy.chosen(flat, fault.share)
    kept = _by_table([pair for number, pair in enumerate(flat) if number not in out])
    answer: Body = {}
    if kept:
        forwarded = forward(body | {"RequestItems": kept})
        if forwarded.status != 200:
            return forwarded
        answer = json.loads(forwarded.body)
    left = [pair for number, pair in enumerate(flat) if number in out]
    left += [(table, entry) for table, entries in answer.get("UnprocessedItems", {}).items() for entry in entries]
    return _json(answer | {"UnprocessedItems": _by_table(left)})


def _unprocessed_keys(proxy: FaultProxy, fault: Fault, body: Body, forward: Forward) -> _Answer:
    """Forward some of a BatchGetItem's keys; the others come back as UnprocessedKeys."""
    asked: Body = {}
    left: Body = {}
    for table, request in body["RequestItems"].items():
        out = proxy.chosen(request["Keys"], fault.share)
        keys = [key for number, key in enumerate(request["Keys"]) if number not in out]
        asked |= {table: request | {"Keys": keys}} if keys else {}
        left[table] = request | {"Keys": [key for number, key in enumerate(request["Keys"]) if number in out]}
    answer: Body = json.loads(forward(body | {"RequestItems": asked}).body) if asked else {"Responses": {}}
    return _json(answer | {"UnprocessedKeys": left})


# What each does, and the operations that it can happen to (none named: all).
_KINDS: dict[str, tuple[Callable[[FaultProxy, Fault, Body, Forward], _Answer], tuple[str, ...]]] = {
    "throttle": (_throttle, ()),
    "refuse": (_refuse, ()),
    "odd": (_odd, ()),
    "changed": (_changed, ()),
    "error_500": (_error_500, ()),
    "error_500_after": (_error_500_after, ()),
    "reset_before": (_reset_before, ()),
    "reset_after": (_reset_after, ()),
    "slow": (_slow, ()),
    "truncate": (_truncate, ()),
    "wrong_crc": (_wrong_crc, ()),
    "unprocessed": (_unprocessed, ("BatchWriteItem",)),
    "unprocessed_keys": (_unprocessed_keys, ("BatchGetItem",)),
}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def __init__(self, proxy: FaultProxy, *arguments: Any) -> None:
        self.proxy = proxy
        super().__init__(*arguments)  # which handles the connection

    def setup(self) -> None:
        super().setup()
        self.upstream = self.proxy.to_upstream()
        self.proxy.opened(self.connection)

    def finish(self) -> None:
        self.proxy.closed(self.connection)
        self.upstream.close()
        with contextlib.suppress(OSError):
            super().finish()

    def handle(self) -> None:
        with contextlib.suppress(OSError):  # the client went away, or we did
            super().handle()

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        operation = self.headers["X-Amz-Target"].rpartition(".")[2]
        fault = self.proxy.pick(operation)
        self.proxy.note(operation, body, fault.kind if fault else "")
        try:
            answer = _KINDS[fault.kind][0](self.proxy, fault, body, self.forward) if fault else self.forward(body)
        except _Reset:
            self.reset()
            return
        self.send(answer)

    def forward(self, body: Body) -> _Answer:
        headers = {name: value for name, value in self.headers.items() if name.lower() != "content-length"}
        data = json.dumps(body).encode()
        try:
            return self.ask(data, headers)
        except (ConnectionError, http.client.BadStatusLine):  # the upstream closed an idle connection
            self.upstream.close()
            return self.ask(data, headers)

    def ask(self, data: bytes, headers: dict[str, str]) -> _Answer:
        self.upstream.request("POST", self.path, data, headers)
        response = self.upstream.getresponse()
        return _Answer(response.status, response.read())

    def send(self, answer: _Answer) -> None:
        headers = {
            "Content-Type": "application/x-amz-json-1.0",
            "Content-Length": str(len(answer.body)),
            "x-amz-crc32": str(zlib.crc32(answer.body)),
        } | answer.headers
        lines = [f"HTTP/1.1 {answer.status} Answer", *(f"{name}: {value}" for name, value in headers.items())]
        self.wfile.write("\r\n".join([*lines, "", ""]).encode() + answer.body)
        self.close_connection = self.close_connection or headers.get("Connection") == "close"

    def reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        for stream in (self.wfile, self.rfile):  # they hold the socket open
            with contextlib.suppress(OSError):
                stream.close()
        self.connection.close()

    def log_message(self, *_: Any) -> None:
        pass


def _by_table(pairs: list[tuple[str, Body]]) -> dict[str, list[Body]]:
    tables: dict[str, list[Body]] = {}
    for table, entry in pairs:
        tables.setdefault(table, []).append(entry)
    return tables


def _named(entry: Body) -> Body:
    item: Body = entry["PutRequest"]["Item"] if "PutRequest" in entry else entry["DeleteRequest"]["Key"]
    return item


def _refusal(code: str, message: str) -> _Answer:
    return _json({"__type": _EXCEPTION + code, "message": message}, 400)


def _json(body: Body, status: int = 200) -> _Answer:
    return _Answer(status, json.dumps(body).encode())
