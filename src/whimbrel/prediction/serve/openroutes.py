"""The paths of the Open Inference Protocol: an endpoint is a model there. What is in its bodies: openinference.py."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from importlib.metadata import version as package_version
from typing import Any

import orjson

from whimbrel.prediction.serve import openinference
from whimbrel.prediction.serve.bodies import JSON, BodyError
from whimbrel.prediction.serve.budget import Load, NoRoom
from whimbrel.prediction.serve.endpoint import LiveEndpoint, Meta, NoSuchVariant
from whimbrel.prediction.serve.listener import Request
from whimbrel.prediction.serve.responses import Response
from whimbrel.prediction.serve.served import Call, Served
from whimbrel.prediction.serve.serving import Serving
from whimbrel.prediction.serve.work import work

Handled = Response | Coroutine[Any, Any, Response]
MetaOf = Callable[[dict[bytes, bytes]], Meta]


class OpenInference:
    def __init__(self, serving: Serving, load: Callable[[], Load]) -> None:
        self._serving = serving
        self._load = load

    def handle(self, request: Request, meta: MetaOf) -> Handled:
        """A model of the protocol is an endpoint; what it has no path for here is 404."""
        parts = request.path.decode("latin-1").rstrip("/").split("/")[2:]
        method = request.method
        if method == b"GET" and parts == []:
            return _v2({"name": "whimbrel", "version": package_version("whimbrel"), "extensions": []})
        if method == b"GET" and parts in (["health", "live"], ["health", "ready"]):
            lives = self._serving.live.values()
            up = parts[1] == "live" or (bool(lives) and all(live.fleet for live in lives))
            return _v2({parts[1]: up}, 200 if up else 503)
        live = self._serving.live.get(parts[1]) if parts[:1] == ["models"] and len(parts) > 1 else None
        if live is None or live.fleet is None:
            return _v2({"error": f"there is no model that answers at {request.path[:200].decode('latin-1')}"}, 404)
        served, rest = live.fleet.variants[0].served, parts[2:]
        if rest[:1] == ["versions"] and len(rest) > 1:
            if rest[1] != served.version:
                return _v2({"error": f"the version that answers is {served.version!r}, not {rest[1][:100]!r}"}, 404)
            rest = rest[2:]
        if method == b"GET" and rest == []:
            return _v2(openinference.metadata(live.name, served))
        if method == b"GET" and rest == ["ready"]:
            return _v2({"name": live.name, "ready": True})
        if method == b"POST" and rest == ["infer"]:
            return self._infer(live, served, request, meta)
        return _v2({"error": "there is nothing at this path"}, 404)

    async def _infer(self, live: LiveEndpoint, served: Served, request: Request, meta: MetaOf) -> Response:
        load, headers = self._load(), dict(request.fields)
        if openinference.BINARY in headers:
            return _v2({"error": "binary tensor data after the JSON is not supported: send data as JSON"}, 400)
        held = 0
        try:
            async with load.budget.room(work(request.body, JSON, served.model.labels), load.patience):
                asked = openinference.read(request.body, served.names, openinference.output_names(served))
                held = len(asked.instances)
                load.budget.add(held)
            call = Call(asked.instances, JSON, JSON, live.refuse_unknown)
            variant, answer = await live.invoke_large(call, meta(headers), request.arrived, load)
        except BodyError as error:
            return _v2({"error": error.message}, error.status)
        except NoSuchVariant:
            return _v2({"error": "the endpoint has no variant of this name"}, 400)
        except NoRoom:
            return _v2({"error": "other large bodies are being answered; try again later"}, 503)
        finally:
            load.budget.add(-held)
        lines = variant.headers + (answer.unknown.header() if answer.unknown else "")
        if answer.status != 200:
            return Response(answer.status, orjson.dumps({"error": answer.body.decode()}), JSON, lines)
        return Response(200, openinference.answer(live.name, variant.served.version, asked, answer.body), JSON, lines)


def _v2(found: dict[str, Any], code: int = 200) -> Response:
    return Response(code, orjson.dumps(found))
