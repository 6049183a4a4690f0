"""One small history through a stream of its own, for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.event_source import Event, EventSource
from demo.servers import Dynalite, Kinesalite
from tests.function.streamed import Streamed
from whimbrel.function import handler, invocation
from whimbrel.migration import send


@pytest.fixture
def streamed(tmp_path: Path, kinesalite: Kinesalite, dynalite: Dynalite) -> Iterator[Streamed]:
    made = Streamed(tmp_path, kinesalite, dynalite)
    yield made
    made.close()


class Context:
    """Of an invocation, as far as the function asks."""

    def get_remaining_time_in_millis(self) -> int:
        return 60_000


@pytest.fixture
def handled(streamed: Streamed, monkeypatch: pytest.MonkeyPatch) -> Iterator[Streamed]:
    """The stream's batches go to the handler as Lambda calls it, with its settings in the environment."""
    monkeypatch.setenv("WHIMBREL_MARK", streamed.target.mark)
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", streamed.target.endpoint)
    handler._known.cache_clear()

    def function(event: Event) -> object:
        return handler.handler(event, Context())

    streamed.mapping = EventSource(streamed.kinesis, streamed.stream, function)
    yield streamed
    handler._known().drop_wire()
    handler._known.cache_clear()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is waited for on purpose is waited for a moment only."""
    monkeypatch.setattr(send, "MARK_SECONDS", 0.05)
    monkeypatch.setattr(send, "MARK_RECORDS", 1)
    monkeypatch.setattr(send, "PROBE_SECONDS", 0.2)
    monkeypatch.setattr(send, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(send, "CLOCK_SECONDS", 0.0)
    monkeypatch.setattr(invocation, "QUIET_SECONDS", 0.2)
    monkeypatch.setattr(invocation, "LOOK_SECONDS", 0.05)
