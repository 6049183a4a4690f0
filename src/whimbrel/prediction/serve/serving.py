"""The one coordinator of serving: what the registry says is what the live endpoints do, and each change keeps it so.

Runs on the event loop; what blocks (disk, loading a model) runs beside it. One change at a time. An update's order:

1. ``Updating`` with what it is updated to is durable, and the caller has its answer;
2. the new fleet is loaded, warmed and checked, beside the traffic;
3. it is on trial for the stages of the deployment, watched by the Guard; the old fleet answers the rest, and every call
   that the new one fails;
4. the new fleet takes all calls by one assignment, and then ``InService`` is durable.

After a crash before the end of 4 the server starts with the old fleet, after a later one with the new.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from whimbrel.errors import UserError, WhimbrelError
from whimbrel.prediction.model.artifact import model_in
from whimbrel.prediction.model.model import Model, load_model
from whimbrel.prediction.serve.data_capture import CallWriter
from whimbrel.prediction.serve.endpoint import Fleet, LiveEndpoint, LiveVariant, Trial
from whimbrel.prediction.serve.figures import Window
from whimbrel.prediction.serve.registry import (
    CREATING,
    FAILED,
    IN_SERVICE,
    UPDATING,
    EndpointConfig,
    Registry,
    State,
    StoredEndpoint,
    StoredModel,
    Variant,
    checked_name,
)
from whimbrel.prediction.serve.rollout import Guard, Stage, stages, verdict
from whimbrel.prediction.serve.served import Call, Loader, Served, load
from whimbrel.threads import in_thread

INCOMING = "incoming"  # a folder of the registry, for files that are handed over to the server
WATCH_EVERY = 0.1  # seconds between two looks at a fleet on trial
_log = logging.getLogger("whimbrel.serve")


class Serving:
    """Every endpoint of a registry, live. All methods but the constructor run on the event loop."""

    def __init__(
        self,
        registry: Registry,
        *,
        guards: Mapping[str, Guard] | None = None,
        loader: Loader = load_model,
        refuse_unknown: Collection[str] = (),
    ) -> None:
        """``refuse_unknown`` are the endpoints that refuse a category which training never saw; others count it."""
        self.live: dict[str, LiveEndpoint] = {}
        self.call_writer = CallWriter()
        self._guards = guards or {}
        self._refuse_unknown = refuse_unknown
        self._registry = registry
        self._loader = loader
        self._lock = asyncio.Lock()
        self._updates: dict[str, asyncio.Task[None]] = {}
        self._loaded: dict[str, Served] = {}

    @property
    def state(self) -> State:
        return self._registry.state

    async def start(self) -> None:
        """Bring up every endpoint as it was; one that cannot come up is Failed, and the others serve."""
        await in_thread(self._registry.settle)
        for endpoint in self.state.endpoints.values():
            self.live[endpoint.name] = self._endpoint(endpoint.name)
            await self._bring_up(endpoint)

    async def close(self) -> None:
        """End the updates (their endpoints come up with the old fleet) and write what is captured."""
        for task in self._updates.values():
            task.cancel()
        await asyncio.gather(*self._updates.values(), return_exceptions=True)
        await in_thread(self.call_writer.close)

    # -- models and configurations

    async def create_model(self, name: str, source: Path) -> StoredModel:
        """Take a model file in, also one in a model.tar.gz, once it has shown that it loads. Raises WhimbrelError."""
        if checked_name(name, "model") in self.state.models:
            raise UserError(f"cannot create already existing model {name!r}", hint="Choose another name.")
        with ExitStack() as unpacked:
            file = await in_thread(unpacked.enter_context, model_in(source))
            model = await in_thread(self._loader, file)
            async with self._lock:
                handed = source.parent == (self._registry.folder / INCOMING).resolve()
                stored = await in_thread(take_model, self._registry, name, file, model, None if handed else source)
        _log.info("model taken in", extra={"model": name, "version": stored.version})
        return stored

    async def delete_model(self, name: str) -> None:
        async with self._lock:
            _known(self.state.models, name, "model")
            _unused(self.state.users_of_model(name), f"model {name}", "endpoint configuration")
            await in_thread(self._registry.forget_model, name)
            self._loaded.pop(name, None)

    async def create_config(self, config: EndpointConfig) -> None:
        """Raises UserError when the name is taken or a model is not known."""
        check_config(self.state, config)
        await self._change(lambda state: state.with_config(config))

    async def delete_config(self, name: str) -> None:
        _known(self.state.configs, name, "endpoint configuration")
        _unused(self.state.users_of_config(name), f"endpoint configuration {name}", "endpoint")
        await self._change(lambda s: replace(s, configs={k: v for k, v in s.configs.items() if k != name}))

    # -- endpoints

    async def create_endpoint(self, name: str, config: str, deployment: dict[str, Any]) -> StoredEndpoint:
        """Begin to bring up an endpoint. Raises UserError."""
        if checked_name(name, "endpoint") in self.state.endpoints:
            raise UserError(f"cannot create already existing endpoint {name!r}", hint="Update it.")
        _known(self.state.configs, config, "endpoint configuration")
        stages(deployment)
        now = time.time()
        endpoint = StoredEndpoint(name, config, CREATING, now, now, deployment=deployment).now("Creating")
        await self._put(endpoint)
        self.live[name] = self._endpoint(name)
        self._begin(name, self._bring_up(endpoint))
        return endpoint

    async def update_endpoint(
        self, name: str, config: str, deployment: dict[str, Any], *, retain_weights: bool = False
    ) -> StoredEndpoint:
        """Begin to update an endpoint without an interruption. Raises UserError, also while an update is under way."""
        endpoint = self._settled(name)
        _known(self.state.configs, config, "endpoint configuration")
        plan = stages(deployment)
        updating = endpoint.now("Updating", status=UPDATING, pending=config, deployment=deployment, reason="")
        await self._put(updating)
        weights = endpoint.weights if retain_weights else {}
        self._begin(name, self._update(name, config, plan, weights))
        return updating

    async def update_weights(self, name: str, weights: dict[str, float]) -> StoredEndpoint:
        """Change the shares of a live endpoint's variants at once. Raises UserError."""
        endpoint = self._settled(name)
        fleet = self.live[name].fleet
        names = [variant.name for variant in fleet.variants] if fleet else []
        for variant, weight in weights.items():
            if variant not in names:
                raise UserError(f"has no variant {variant!r}", place=f"endpoint {name}", hint=f"It has {names}.")
            if weight < 0:
                raise UserError(f"weight {weight} is below 0", place=f"variant {variant}", hint="Give 0 or more.")
        changed = endpoint.now("WeightsUpdated", weights=endpoint.weights | weights)
        await self._put(changed)
        if fleet:
            for each in fleet.variants:
                each.weight = weights.get(each.name, each.weight)
            fleet.weigh()
        return changed

    async def delete_endpoint(self, name: str) -> None:
        _known(self.state.endpoints, name, "endpoint")
        if task := self._updates.get(name):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self.live.pop(name, None)
        await self._change(lambda s: replace(s, endpoints={k: v for k, v in s.endpoints.items() if k != name}))

    # -- an update, from its beginning to its end

    async def _bring_up(self, endpoint: StoredEndpoint) -> None:
        live = self.live[endpoint.name]
        try:
            live.fleet = await self._fleet(endpoint.config, endpoint.weights, [])
        except WhimbrelError as error:
            _log.error("endpoint failed", extra={"endpoint": endpoint.name, "error": str(error)})
            await self._put(endpoint.now("Failed", status=FAILED, reason=str(error)))
            return
        if endpoint.status != IN_SERVICE:
            await self._put(endpoint.now("InService", status=IN_SERVICE, reason=""))

    async def _update(self, name: str, config: str, plan: tuple[Stage, ...], weights: dict[str, float]) -> None:
        live = self.live[name]
        try:
            fleet = await self._fleet(config, weights, list(live.recent))
            reason = await self._try_out(live, fleet, plan)
        except WhimbrelError as error:
            reason = str(error)
        except Exception as error:  # a bug of ours must not leave the endpoint between two states
            _log.exception("update failed", extra={"endpoint": name})
            reason = f"{type(error).__name__}: {error}"
        finally:
            live.trial = None
        endpoint = self.state.endpoints[name]
        if not reason:
            live.swap(fleet)  # between two calls, all at once
            done = endpoint.now("InService", status=IN_SERVICE, config=config, weights=weights)
            _log.info("endpoint updated", extra={"endpoint": name, "config": config})
        else:
            done = endpoint.now("RolledBack", status=_after_failure(live), reason=reason)
            _log.warning("update rolled back", extra={"endpoint": name, "config": config, "reason": reason})
        await self._put(replace(done, pending=""))

    async def _try_out(self, live: LiveEndpoint, fleet: Fleet, plan: Iterable[Stage]) -> str:
        """Let the fleet answer its shares; why it has to go, or "". Without an old fleet there is nothing to try."""
        if live.fleet is None:
            return ""
        before = live.fleet.window()
        guard = self._guards.get(live.name, Guard())
        for stage in plan:
            live.trial = Trial(fleet, stage.share)
            until = time.monotonic() + stage.seconds
            while (left := until - time.monotonic()) > 0:
                await asyncio.sleep(min(WATCH_EVERY, left))
                if reason := verdict(_baseline(live.fleet, before), fleet.window(), fleet.losses, guard):
                    return reason
        return ""

    async def _fleet(self, config_name: str, weights: dict[str, float], recent: list[Call]) -> Fleet:
        config = self.state.configs[config_name]
        variants = [await self._variant(each, weights, recent) for each in config.variants]
        shadow = await self._variant(config.shadow, {}, []) if config.shadow else None
        return Fleet(config_name, variants, shadow, config.capture)

    async def _variant(self, variant: Variant, weights: dict[str, float], recent: list[Call]) -> LiveVariant:
        model = self.state.models[variant.model]
        served = self._loaded.get(variant.model)
        if served is None:
            path = self._registry.model_path(model)
            served = await in_thread(load, variant.model, path, self._loader, recent)
            self._loaded[variant.model] = served
        return LiveVariant(variant.name, served, weights.get(variant.name, variant.weight))

    # -- small steps

    def _endpoint(self, name: str) -> LiveEndpoint:
        return LiveEndpoint(name, self.call_writer, refuse_unknown=name in self._refuse_unknown)

    def _begin(self, name: str, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._updates[name] = task
        task.add_done_callback(lambda task: self._ended(name, task))

    def _ended(self, name: str, task: asyncio.Task[None]) -> None:
        self._updates.pop(name, None)
        if not task.cancelled() and (error := task.exception()):
            # What answers is whole; only what the disk says may be the state before.
            _log.error("the end of an update is not durable", extra={"endpoint": name, "error": str(error)})
        in_use = {
            variant.served.name
            for live in self.live.values()
            if live.fleet
            for variant in (*live.fleet.variants, *([live.fleet.shadow] if live.fleet.shadow else []))
        }
        busy = bool(self._updates)
        self._loaded = {key: each for key, each in self._loaded.items() if key in in_use or busy}

    def _settled(self, name: str) -> StoredEndpoint:
        endpoint: StoredEndpoint = _known(self.state.endpoints, name, "endpoint")
        if name in self._updates or endpoint.pending:
            raise UserError(
                f"cannot update endpoint {name!r} while it is {endpoint.status}", hint="Wait until it is InService."
            )
        return endpoint

    async def _put(self, endpoint: StoredEndpoint) -> None:
        await self._change(lambda state: state.with_endpoint(endpoint))

    async def _change(self, changed: Callable[[State], State]) -> None:
        async with self._lock:
            await in_thread(self._registry.change, changed)


def take_model(registry: Registry, name: str, file: Path, model: Model, source: Path | None = None) -> StoredModel:
    """Copy the file and enter it, as from ``source``, else from the copy; raises UserError or StateError."""
    kept = registry.take_model_file(name, file)
    stored = StoredModel(
        name=name,
        file=kept,
        version=model.version,
        source=str(source or registry.folder.absolute() / kept),
        created=time.time(),
        as_of=model.as_of,
        kind=model.kind,
        learner=model.learner,
        metrics=dict(model.metrics.values),
        position=model.position,
    )
    registry.change(lambda state: state.with_model(stored))
    return stored


def check_config(state: State, config: EndpointConfig) -> None:
    """Raises UserError when the name is taken, a model is not known, or variants share a name."""
    if checked_name(config.name, "endpoint configuration") in state.configs:
        raise UserError(
            f"cannot create already existing endpoint configuration {config.name!r}", hint="Choose another name."
        )
    names = [checked_name(variant.name, "variant") for variant in config.all_variants]
    if not config.variants or len(set(names)) < len(names):
        raise UserError("variants need distinct names", place=config.name, hint=f"It has {names}.")
    if config.shadow and len(config.variants) != 1:
        raise UserError(
            "a shadow variant needs one production variant", place=config.name, hint="Leave one of them out."
        )
    for variant in config.all_variants:
        _known(state.models, variant.model, "model")
        if not 0 <= variant.weight < float("inf"):
            raise UserError(f"weight {variant.weight} is below 0", place=variant.name, hint="Give 0 or more.")


def _known(found: dict[str, Any], name: str, what: str) -> Any:
    if name not in found:
        raise UserError(f"could not find {what} {name!r}", hint=f"There is {', '.join(sorted(found)) or 'none'}.")
    return found[name]


def _unused(users: list[str], what: str, by: str) -> None:
    if users:
        raise UserError(
            f"cannot delete it: {by} {', '.join(users)} uses it", place=what, hint=f"Delete the {by} first."
        )


def _baseline(old: Fleet, before: Window) -> Window:
    """The old fleet beside the trial where it still gets calls, else as it was before."""
    beside = old.window().since(before)
    return beside if beside.calls >= 100 else old.window()


def _after_failure(live: LiveEndpoint) -> str:
    return IN_SERVICE if live.fleet else FAILED
