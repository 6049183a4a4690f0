"""The function with its event source mapping, in a process: ``python -m demo.function STREAM KINESIS DYNAMODB LIMIT``.

The mapping's place does not outlive the process: the stream comes again from its oldest record, which is more than
Lambda ever repeats. ``LIMIT`` is the function's time limit in seconds. Where it is asked to end, it ends with 0.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Self

import boto3

from demo.event_source import Event, EventSource
from whimbrel.function import invocation
from whimbrel.function.known import Known
from whimbrel.project import Target

CALL_SECONDS, LIMIT_SECONDS = 1.0, 60


class RunningFunction:
    """The process, while this is entered. ``ended`` is called if it ends before that."""

    def __init__(self, stream: str, kinesis: str, dynamodb: str, ended: Callable[[], object]) -> None:
        self._command = [sys.executable, "-m", "demo.function", stream, kinesis, dynamodb, str(LIMIT_SECONDS)]
        self._ended = ended
        self._left = threading.Event()

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command)
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        self._process.terminate()
        self._thread.join()

    @property
    def has_failed(self) -> bool:
        return self._process.poll() not in (None, 0)

    def _watch(self) -> None:
        self._process.wait()
        if not self._left.is_set():
            self._ended()


def main(stream: str, kinesis: str, dynamodb: str, seconds: str) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    invocation.QUIET_SECONDS = 0.5  # on one machine, what was sent is there
    known = Known(Target(endpoint=dynamodb, region="us-east-1"), CALL_SECONDS)
    keys: dict[str, Any] = {"aws_access_key_id": "local", "aws_secret_access_key": "local", "region_name": "us-east-1"}

    def invoke(event: Event) -> Any:
        return invocation.Invocation(known, event["Records"], float(seconds)).run()

    mapping = EventSource(boto3.client("kinesis", endpoint_url=kinesis, **keys), stream, invoke, batch=200)
    while True:
        if not mapping.step():
            time.sleep(0.02)


if __name__ == "__main__":
    main(*sys.argv[1:])
