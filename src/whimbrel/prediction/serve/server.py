"""The HTTP server: which path means what.

=====================================  ==================================================================
POST /endpoints/{name}/invocations     InvokeEndpoint of ``sagemaker-runtime``
  …/invocations-response-stream        InvokeEndpointWithResponseStream
POST /  (X-Amz-Target: SageMaker.…)    control, see control.py
GET /ping, POST /invocations           the container contract; an endpoint of that name, or the only one
GET, POST /v2/…                        the Open Inference Protocol, see openinference.py
GET /metrics                           Prometheus
GET /, GET /status                     the page, and what it shows
=====================================  ==================================================================
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import logging
import os
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Coroutine, Iterator, Mapping
from importlib import resources
from itertools import count
from typing import Any, Protocol

import orjson

from whimbrel.errors import ModelDamaged, RequestRefused, UserError, WhimbrelError
from whimbrel.prediction.serve import prometheus
from whimbrel.prediction.serve.access import AccessRules, Doors
from whimbrel.prediction.serve.bodies import JSON
from whimbrel.prediction.serve.budget import Load, NoRoom
from whimbrel.prediction.serve.endpoint import LiveEndpoint, LiveVariant, Meta, NoSuchVariant
from whimbrel.prediction.serve.http import Connection
from whimbrel.prediction.serve.invocation import unsupported
from whimbrel.prediction.serve.listener import Limits, Listener, Request
from whimbrel.prediction.serve.openroutes import OpenInference
from whimbrel.prediction.serve.responses import (
    Response,
    as_container,
    as_event_stream,
    as_sagemaker,
    control_error,
    no_variant,
    refusal,
)
from whimbrel.prediction.serve.served import SMALL_BODY, Answer, Call
from whimbrel.prediction.serve.serving import Serving
from whimbrel.prediction.serve.sigv4 import Signed
from whimbrel.prediction.serve.status import recent_drift, status
from whimbrel.threads import in_thread

Handled = Response | Coroutine[Any, Any, Response]
Until = Callable[[], Coroutine[Any, Any, None]]
Respond = Callable[[LiveVariant, Answer, Meta], Response]
_PREFIX = b"/endpoints/"
_META = frozenset(
    f"x-amzn-sagemaker-{name}".encode() for name in ("target-variant", "inference-id", "custom-attributes")
)
_NO_ASYNC = "Asynchronous calls are not offered: score a file with `whimbrel predict --model FILE < rows.csv`."
_DRIFT_EVERY = 5.0
_LOOK_EVERY = 0.1
_M_MMAP_THRESHOLD = -3  # of glibc's mallopt
_PAGE_HEADERS = (
    "content-security-policy: default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n"
    "cache-control: no-store\r\nx-content-type-options: nosniff\r\nreferrer-policy: no-referrer\r\n"
)
_log = logging.getLogger("whimbrel.serve")


class NotFound(UserError):
    """There is no such thing: ResourceNotFoundException."""


class Control(Protocol):
    """What does the operations of control APIs, those of ``services`` as X-Amz-Target names them.

    ``do`` raises UserError, of which NotFound, for a call that it refuses, or RequestRefused with SageMaker's code.
    """

    services: tuple[str, ...]

    async def do(self, service: str, operation: str, given: dict[str, Any]) -> dict[str, Any]: ...

    async def close(self) -> None: ...


class Routes:
    """From a request to its response. ``control`` is None where none is offered."""

    def __init__(self, serving: Serving, doors: Doors, control: Control | None) -> None:
        self._serving = serving
        self._control = control
        self._doors = doors
        p = uuid.uuid4().hex
        self._prefix = f"{p[:8]}-{p[8:12]}-{p[12:16]}-{p[16:20]}"
        self._count = count(1)
        self._drifts: dict[str, list[dict[str, Any]]] = {}
        self._drifts_at = 0.0
        self._page = resources.files("whimbrel.prediction.serve").joinpath("page.html").read_bytes()
        self.listener: Listener | None = None
        self._open_inference = OpenInference(serving, lambda: self._load)
        self._ways: dict[bytes, Respond] = {
            b"invocations": as_sagemaker,
            b"invocations-response-stream": as_event_stream,
        }
        self._plain: dict[tuple[bytes, bytes], Callable[[Request], Handled]] = {
            (b"GET", b"/ping"): self._ping,
            (b"POST", b"/invocations"): self._container,
            (b"GET", b"/"): self._show_page,
            (b"GET", b"/status"): self._show_status,
            (b"GET", b"/metrics"): self._show_metrics,
        }
        if control:
            self._plain[b"POST", b"/"] = self._controlled

    @property
    def serve(self) -> Callable[[Request], Handled]:
        """What answers a request: where there is a secret to sign with, it may be signed."""
        return self._serve_signed if self._doors.signed else self.handle

    def _serve_signed(self, request: Request) -> Handled:
        if why := self._wrongly_signed(request):
            return refusal(403, why)
        return self.handle(request)

    def _wrongly_signed(self, request: Request) -> str:
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers]
        path, query = request.path.decode("latin-1"), request.query.decode("latin-1")
        return self._doors.by_signature(Signed(request.method.decode(), path, query, headers, request.body))

    def handle(self, request: Request) -> Handled:
        if request.method == b"HEAD":
            request = request._replace(method=b"GET")  # of the answer, the connection sends the head alone
        path = request.path
        if path.startswith(_PREFIX):
            name, _, way = path[len(_PREFIX) :].partition(b"/")
            if respond := self._ways.get(way):
                if request.method != b"POST":
                    return refusal(405, "invoke an endpoint with POST")
                return self._invoke(name.decode("latin-1"), request, respond)
            if way == b"async-invocations":
                return refusal(400, _NO_ASYNC)
        if path == b"/v2" or path.startswith(b"/v2/"):
            return self._open_inference.handle(request, self._meta)
        handler = self._plain.get((request.method, path))
        if handler:
            return handler(request)
        if any(path == known for _, known in self._plain):
            return refusal(405, f"{request.method.decode('latin-1')} is not for this path")
        return refusal(404, "there is nothing at this path")

    # -- predictions

    def _invoke(self, name: str, request: Request, respond: Respond) -> Handled:
        live = self._serving.live.get(name)
        if live is None:
            return refusal(400, f"Endpoint {name[:63]} not found.")
        if live.fleet is None:
            return refusal(
                503, f"Endpoint {name} is {self._serving.state.endpoints[name].status}; it cannot answer yet."
            )
        return self._predict(live, request, respond)

    def _container(self, request: Request) -> Handled:
        lives = [live for live in self._serving.live.values() if live.fleet]
        if len(lives) != 1:
            return refusal(404 if lives else 503, "there is not exactly one endpoint that answers here")
        return self._predict(lives[0], request, as_container)

    def _predict(self, live: LiveEndpoint, request: Request, respond: Respond) -> Handled:
        headers = request.fields
        if why := unsupported(headers, every=respond is not as_container):
            return refusal(400, why)
        call = Call(
            request.body,
            headers.get(b"content-type", b"").decode("latin-1"),
            (headers.get(b"x-amzn-sagemaker-accept") or headers.get(b"accept", b"")).decode("latin-1"),
            live.refuse_unknown,
        )
        meta = self._meta(headers)
        try:
            if len(request.body) > SMALL_BODY:
                return self._predict_large(live, call, meta, respond, request.arrived)
            variant, answer = live.invoke(call, meta, request.arrived)
        except NoSuchVariant:
            return no_variant(live.name, meta)
        return respond(variant, answer, meta)

    async def _predict_large(
        self, live: LiveEndpoint, call: Call, meta: Meta, respond: Respond, arrived: float
    ) -> Response:
        assert self.listener
        try:
            variant, answer = await live.invoke_large(call, meta, arrived, self.listener.load)
            return respond(variant, answer, meta)
        except NoSuchVariant:
            return no_variant(live.name, meta)
        except NoRoom:
            return refusal(503, "other large bodies are being answered; try again later")

    @property
    def _load(self) -> Load:
        assert self.listener
        return self.listener.load

    def _meta(self, headers: Mapping[bytes, bytes]) -> Meta:
        request_id = f"{self._prefix}-{next(self._count):012x}"
        if _META.isdisjoint(headers):
            return Meta(request_id)
        return Meta(
            request_id,
            headers.get(b"x-amzn-sagemaker-target-variant", b"").decode("latin-1"),
            headers.get(b"x-amzn-sagemaker-inference-id", b"").decode("latin-1"),
            headers.get(b"x-amzn-sagemaker-custom-attributes", b"").decode("latin-1"),
        )

    # -- everything else

    def _ping(self, request: Request) -> Response:
        lives = self._serving.live.values()
        up = bool(lives) and all(live.fleet for live in lives)
        return Response(200 if up else 503, b"{}" if up else b'{"Message": "not every endpoint answers yet"}')

    def _controlled(self, request: Request) -> Handled:
        target = request.fields.get(b"x-amz-target", b"").decode("latin-1")
        service, _, operation = target.partition(".")
        if not self._control or service not in self._control.services:
            return refusal(400, "POST / needs the header X-Amz-Target: SageMaker.<operation>")
        return self._do_control(service, operation, request.body)

    async def _do_control(self, service: str, operation: str, body: bytes) -> Response:
        try:
            given = orjson.loads(body or b"{}")
            if not isinstance(given, dict):
                raise UserError("the body must be a JSON object")
            assert self._control
            answer = await self._control.do(service, operation, given)
        except orjson.JSONDecodeError as error:
            return control_error(400, "ValidationException", f"the body is not JSON: {error}")
        except NotFound as error:
            return control_error(400, "ResourceNotFoundException", str(error))
        except RequestRefused as error:
            return control_error(400, error.code, str(error))
        except (UserError, ModelDamaged) as error:
            return control_error(400, "ValidationException", str(error))
        except WhimbrelError as error:
            return control_error(500, "InternalFailure", str(error))
        return Response(200, orjson.dumps(answer), "application/x-amz-json-1.1")

    def _show_page(self, request: Request) -> Response:
        return Response(200, self._page, "text/html; charset=utf-8", _PAGE_HEADERS)

    async def _show_status(self, request: Request) -> Response:
        if time.monotonic() - self._drifts_at > _DRIFT_EVERY:
            self._drifts_at = time.monotonic()
            served = {
                v.served.name: v.served
                for live in self._serving.live.values()
                if live.fleet
                for v in live.fleet.variants
            }
            self._drifts = {name: await in_thread(recent_drift, each) for name, each in served.items()}
        return Response(200, orjson.dumps(status(self._serving, self._drifts)), JSON, "cache-control: no-store\r\n")

    def _show_metrics(self, request: Request) -> Response:
        listener = self.listener
        assert listener
        text = prometheus.page(self._serving, listener.refused, len(listener.connections), listener.budget.used)
        return Response(200, text.encode(), prometheus.CONTENT_TYPE)


async def serve(
    serving: Serving,
    *,
    host: str | None,
    port: int,
    limits: Limits,
    ready: Callable[[int], None],
    until: Until,
    control: Control | None = None,
    access: AccessRules | None = None,
    grace: float = 25.0,
) -> None:
    """Serve until ``until`` returns; then answer what has begun, in ``grace`` seconds. ``host`` None: every interface.

    ``ready`` is called with the port once every endpoint is up. Raises UserError when the address cannot be had, or
    would open the server to other machines without a token.
    """
    access = access or AccessRules()
    access.check(host)
    doors = Doors(access, host)
    routes = Routes(serving, doors, control if access.control else None)
    listener = routes.listener = Listener(limits, doors.by_head, routes.serve)
    loop = asyncio.get_running_loop()
    ended = loop.create_task(until())  # from here on: a signal may come while the models are loaded
    await asyncio.sleep(0)
    server = await listen(listener, host, port)
    watch = loop.create_task(listener.watch())
    with _tuned():
        await serving.start()
        gc.collect()
        gc.freeze()  # what is there by now stays; the collector need not look at it again
        ready(server.sockets[0].getsockname()[1])
        await ended
        _log.info("stopping", extra={"pid": os.getpid()})
        server.close()
        await listener.drain(grace)
    watch.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watch
    if control:
        await control.close()
    await serving.close()


@contextlib.contextmanager
def _tuned() -> Iterator[None]:
    """The process for a server: what can be put back is put back."""
    _return_memory()
    before = sys.getswitchinterval()
    # While a model is loaded beside the traffic, a call waits for the interpreter no longer than this.
    sys.setswitchinterval(0.0005)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
        gc.unfreeze()


async def until_a_signal() -> None:
    """SIGTERM or SIGINT. On the main thread."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop.set)
    await stop.wait()


def until_set(stop: threading.Event) -> Until:
    async def wait() -> None:
        while not stop.is_set():
            await asyncio.sleep(_LOOK_EVERY)

    return wait


async def listen(listener: Listener, host: str | None, port: int) -> asyncio.Server:
    """Raises UserError where the address cannot be had."""
    loop = asyncio.get_running_loop()
    try:
        return await loop.create_server(lambda: Connection(listener), host, port, backlog=1024)
    except (OSError, OverflowError) as error:
        raise UserError(
            f"cannot listen there: {getattr(error, 'strerror', None) or error}",
            place=f"{host or '*'}:{port}",
            hint="Choose another port with --port.",
        ) from None


def _return_memory() -> None:
    """Large blocks go back to the system as soon as they are free: glibc otherwise learns to keep those it has seen."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 256 << 10)


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run on uvloop where it is installed, else on asyncio's own loop."""
    factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    with contextlib.suppress(ImportError):
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(work)
