"""One small history through a stream of its own, for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.servers import Dynalite, Kinesalite
from tests.function.streamed import Streamed


@pytest.fixture
def streamed(tmp_path: Path, kinesalite: Kinesalite, dynalite: Dynalite) -> Iterator[Streamed]:
    made = Streamed(tmp_path, kinesalite, dynalite)
    yield made
    made.close()
