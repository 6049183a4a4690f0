"""Keeping calls and their answers in the layout of SageMaker's data capture, without making any call wait.

``<folder>/<endpoint>/<variant>/YYYY/MM/DD/HH/MM-SS-mmm-<id>.jsonl`` (UTC), one JSON object a line::

    {"captureData": {"endpointInput": {"observedContentType", "mode": "INPUT", "data", "encoding": CSV|JSON|BASE64},
                     "endpointOutput": {…, "mode": "OUTPUT"}},
     "eventMetadata": {"eventId", "inferenceId"?, "inferenceTime", "customAttributes"?}, "eventVersion": "0"}

A thread writes what has come twice a second, whole lines only. What a crash or a full disk loses is captured data,
never an answer: at most the last half second, and what does not fit into the queue is counted.
"""

from __future__ import annotations

import base64
import logging
import threading
import time
import uuid
from collections import deque
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import orjson

from whimbrel.prediction.serve.registry import DataCapture
from whimbrel.threads import Thread

MOST_QUEUED = 64 << 20  # bytes of bodies
MOST_IN_A_FILE = 16 << 20
SECONDS_OF_A_FILE = 60.0
_EVERY = 0.5
_log = logging.getLogger("whimbrel.serve")


class CapturedCall(NamedTuple):
    """One call to keep; ``at`` is in seconds since 1970."""

    endpoint: str
    variant: str
    model_version: str
    at: float
    event_id: str
    inference_id: str
    custom_attributes: str
    content_type: str
    input: bytes
    output_type: str
    output: bytes


class CallWriter:
    """Takes calls from the event loop and writes them from its own thread. ``dropped`` counts what was not written."""

    def __init__(self) -> None:
        self.kept = self.dropped = 0
        self._queue: deque[tuple[DataCapture, CapturedCall]] = deque()
        self._queued = 0
        self._lock = threading.Lock()
        self._files: dict[tuple[str, str, str], _File] = {}
        self._stop = threading.Event()
        self._thread = Thread(self._run, "data-capture")
        self._thread.start()

    def keep(self, plan: DataCapture, call: CapturedCall) -> None:
        """Never waits for the disk, never raises."""
        size = len(call.input) + len(call.output)
        with self._lock:
            if self._queued + size > MOST_QUEUED:
                self.dropped += 1
                return
            self._queued += size
            self._queue.append((plan, call))

    def close(self) -> None:
        """Write what is queued and end."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(_EVERY):
            self._write()
        self._write()
        for file in self._files.values():
            file.close()

    def _write(self) -> None:
        by_file: dict[tuple[str, str, str], list[bytes]] = {}
        while self._queue:
            with self._lock:
                plan, call = self._queue.popleft()
                self._queued -= len(call.input) + len(call.output)
            hour = time.strftime("%Y/%m/%d/%H", time.gmtime(call.at))
            by_file.setdefault((plan.folder, f"{call.endpoint}/{call.variant}", hour), []).append(line(plan, call))
        for key, lines in by_file.items():
            try:
                self._file(key).write(b"".join(lines))
                self.kept += len(lines)
            except OSError as error:
                self.dropped += len(lines)
                if file := self._files.pop(key, None):
                    file.close()
                _log.error("captured calls cannot be written", extra={"folder": key[0], "error": str(error)})
        self._close_old()

    def _file(self, key: tuple[str, str, str]) -> _File:
        file = self._files.get(key)
        if file is None:
            folder, whose, hour = key
            file = self._files[key] = _File(Path(folder) / whose / hour)
        return file

    def _close_old(self) -> None:
        for key, file in list(self._files.items()):
            if file.bytes > MOST_IN_A_FILE or time.monotonic() - file.begun > SECONDS_OF_A_FILE:
                file.close()
                del self._files[key]


class _File:
    """One file of captured calls; it has its name from the moment at which it was begun."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        now = time.time()
        name = f"{time.strftime('%M-%S', time.gmtime(now))}-{int(now * 1000) % 1000:03}-{uuid.uuid4()}.jsonl"
        self._file: BinaryIO = (folder / name).open("ab", buffering=0)
        self.begun = time.monotonic()
        self.bytes = 0

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self.bytes += len(data)

    def close(self) -> None:
        self._file.close()


def line(plan: DataCapture, call: CapturedCall) -> bytes:
    """The call as one line, with its line end."""
    data: dict[str, Any] = {}
    if plan.input:
        data["endpointInput"] = _body(call.content_type, "INPUT", call.input)
    if plan.output:
        data["endpointOutput"] = _body(call.output_type, "OUTPUT", call.output)
    about: dict[str, Any] = {
        "eventId": call.event_id,
        "inferenceTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(call.at)),
    }
    if call.inference_id:
        about["inferenceId"] = call.inference_id
    # Where SageMaker keeps the container's custom attributes, the model's version is kept too.
    about["customAttributes"] = [f"x-whimbrel-model-version={call.model_version}"]
    if call.custom_attributes:
        about["customAttributes"].append(call.custom_attributes)
    return orjson.dumps({"captureData": data, "eventMetadata": about, "eventVersion": "0"}) + b"\n"


def _body(content_type: str, mode: str, body: bytes) -> dict[str, str]:
    kind = content_type.partition(";")[0].strip().lower()
    encoding = {"text/csv": "CSV", "application/json": "JSON", "application/jsonlines": "JSON"}.get(kind, "BASE64")
    try:
        text = body.decode() if encoding != "BASE64" else base64.b64encode(body).decode()
    except UnicodeDecodeError:
        encoding, text = "BASE64", base64.b64encode(body).decode()
    return {"observedContentType": content_type, "mode": mode, "data": text, "encoding": encoding}
