"""What is served: models, endpoint configurations and endpoints, in SageMaker's terms, in one small file on disk.

The folder holds ``registry.json`` and a copy of each model file under ``models/``. Every change replaces the whole
file durably, after the model files that it names are durable: whoever opens it, also after a crash, finds the state
before the change or after it, whole. One process at a time may change it: it holds ``lock``.
"""

from __future__ import annotations

import fcntl
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson

from whimbrel.durable import replace_file, sync_folder
from whimbrel.errors import Locked, StateError, UserError
from whimbrel.prediction.model.model import GZIP

FORMAT = 1
HISTORY = 100  # events kept for an endpoint
IN_SERVICE, UPDATING, ROLLING_BACK, CREATING, FAILED, DELETING = (
    "InService",
    "Updating",
    "RollingBack",
    "Creating",
    "Failed",
    "Deleting",
)
_NAME = re.compile(r"[A-Za-z0-9](-*[A-Za-z0-9]){0,62}")


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A model file that was taken in. ``created`` is in seconds since 1970; ``metrics`` are those of its training."""

    name: str
    file: str  # below the registry's folder
    version: str
    source: str
    created: float
    as_of: str  # the moment of the data that it was trained on
    kind: str
    learner: str
    metrics: dict[str, float | None] = field(default_factory=dict)
    position: str = ""  # up to there a migration had applied everything before that moment; "" if not known


@dataclass(frozen=True, slots=True)
class Variant:
    """A production variant: which model, and its weight among the others."""

    name: str
    model: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class DataCapture:
    """Which share of the calls is kept (per cent), below which folder, and what of them."""

    percent: int
    folder: str
    input: bool = True
    output: bool = True


@dataclass(frozen=True, slots=True)
class EndpointConfig:
    """Never changed, as on SageMaker: another configuration is another name."""

    name: str
    variants: tuple[Variant, ...]
    created: float
    shadow: Variant | None = None
    capture: DataCapture | None = None

    @property
    def all_variants(self) -> tuple[Variant, ...]:
        return (*self.variants, self.shadow) if self.shadow else self.variants


@dataclass(frozen=True, slots=True)
class StoredEndpoint:
    """``config`` is what answers; ``pending`` is what it is being updated to, and "" otherwise."""

    name: str
    config: str
    status: str
    created: float
    modified: float
    pending: str = ""
    reason: str = ""  # why the last update or the creation failed
    weights: dict[str, float] = field(default_factory=dict)  # where they differ from the configuration's
    deployment: dict[str, Any] = field(default_factory=dict)  # SageMaker's DeploymentConfig of the last update
    history: tuple[dict[str, Any], ...] = ()

    def now(self, event: str, **changes: Any) -> StoredEndpoint:
        """This endpoint after ``changes``, with the event in its history."""
        changed = replace(self, modified=time.time(), **changes)
        entry = {"time": changed.modified, "event": event, "config": changed.pending or changed.config}
        if changed.reason:
            entry["reason"] = changed.reason
        return replace(changed, history=(*self.history, entry)[-HISTORY:])


@dataclass(frozen=True, slots=True)
class State:
    """Everything that the registry knows at one moment."""

    models: dict[str, StoredModel] = field(default_factory=dict)
    configs: dict[str, EndpointConfig] = field(default_factory=dict)
    endpoints: dict[str, StoredEndpoint] = field(default_factory=dict)

    def with_model(self, model: StoredModel) -> State:
        return replace(self, models=self.models | {model.name: model})

    def with_config(self, config: EndpointConfig) -> State:
        return replace(self, configs=self.configs | {config.name: config})

    def with_endpoint(self, endpoint: StoredEndpoint) -> State:
        return replace(self, endpoints=self.endpoints | {endpoint.name: endpoint})

    def users_of_config(self, name: str) -> list[str]:
        return [each.name for each in self.endpoints.values() if name in (each.config, each.pending)]

    def users_of_model(self, name: str) -> list[str]:
        return [each.name for each in self.configs.values() if any(v.model == name for v in each.all_variants)]


class Registry:
    """The state on disk. ``state`` is always what was last made durable."""

    def __init__(self, folder: Path) -> None:
        """Open or begin the registry at ``folder``. Raises StateError when its file cannot be understood."""
        self.folder = folder
        (folder / "models").mkdir(parents=True, exist_ok=True)
        self._file = folder / "registry.json"
        self._writing = threading.Lock()  # a thread may still write when whoever waited for it was cancelled
        self.state = self._read()

    def change(self, changed: Callable[[State], State]) -> State:
        """Replace the state by ``changed(state)``; it counts when this returns. Raises StateError if the disk fails."""
        with self._writing:
            state = changed(self.state)
            document = {"format": FORMAT} | asdict(state)
            try:
                replace_file(self._file, orjson.dumps(document, option=orjson.OPT_INDENT_2))
            except OSError as error:
                raise StateError(
                    f"cannot be written: {error.strerror}",
                    place=str(self._file),
                    hint="Free some disk space or fix the disk.",
                ) from None
            self.state = state
            return state

    def take_model_file(self, name: str, source: Path) -> str:
        """Copy a model file into the registry, durably and before the state names it; the name below the folder."""
        checked_name(name, "model")
        try:
            data = source.read_bytes()
            file = f"models/{name}.json{'.gz' if data.startswith(GZIP) else ''}"
            replace_file(self.folder / file, data)
            sync_folder(self.folder)
        except OSError as error:
            raise UserError(
                f"the model file cannot be copied: {error.strerror}",
                place=str(source),
                hint="Name a model file that `whimbrel train` wrote.",
            ) from None
        return file

    def model_path(self, model: StoredModel) -> Path:
        return self.folder / model.file

    def forget_model(self, name: str) -> None:
        """Without the model first, then without its file: the state never names what is not there."""
        file = self.model_path(self.state.models[name])
        self.change(lambda state: replace(state, models={k: v for k, v in state.models.items() if k != name}))
        file.unlink(missing_ok=True)

    def settle(self) -> None:
        """After a restart nothing is in the middle of an update any more: what served before it serves again."""
        for endpoint in self.state.endpoints.values():
            if endpoint.pending:
                reason = f"the server ended during the update to {endpoint.pending}; {endpoint.config} serves again"
                settled = endpoint.now("UpdateInterrupted", status=IN_SERVICE, reason=reason)
                self._put(replace(settled, pending=""))
            elif endpoint.status in (UPDATING, ROLLING_BACK):
                self._put(replace(endpoint, status=IN_SERVICE))

    def _put(self, endpoint: StoredEndpoint) -> None:
        self.change(lambda state: state.with_endpoint(endpoint))

    def _read(self) -> State:
        try:
            data = self._file.read_bytes()
        except FileNotFoundError:
            return State()
        try:
            return _state_from(orjson.loads(data))
        except (ValueError, KeyError, TypeError) as error:
            raise StateError(
                f"is not a registry of this version: {error!r}",
                place=str(self._file),
                hint="Take it from a backup, or move the folder away and deploy the models again.",
            ) from None


@contextmanager
def sole_user(folder: Path) -> Iterator[None]:
    """Hold the registry against other processes. Raises Locked when another one has it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise Locked(
                f"process {file.read().strip() or '?'} serves from it",
                place=str(folder),
                hint="Stop it first, or name another state folder in the project file.",
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def checked_name(name: str, what: str) -> str:
    """SageMaker's rule for names. Raises UserError."""
    if not _NAME.fullmatch(name):
        raise UserError(
            "not a name: letters, digits and hyphens, 63 at most, first and last no hyphen",
            place=f"{what} {name!r}",
            hint="Choose another one.",
        )
    return name


def _state_from(document: dict[str, Any]) -> State:
    if document["format"] != FORMAT:
        raise ValueError(f"format {document['format']}")
    return State(
        models={name: StoredModel(**each) for name, each in document["models"].items()},
        configs={name: _config_from(each) for name, each in document["configs"].items()},
        endpoints={
            name: StoredEndpoint(**each | {"history": tuple(each["history"])})
            for name, each in document["endpoints"].items()
        },
    )


def _config_from(values: dict[str, Any]) -> EndpointConfig:
    return EndpointConfig(
        name=values["name"],
        variants=tuple(Variant(**each) for each in values["variants"]),
        created=values["created"],
        shadow=Variant(**values["shadow"]) if values["shadow"] else None,
        capture=DataCapture(**values["capture"]) if values["capture"] else None,
    )
