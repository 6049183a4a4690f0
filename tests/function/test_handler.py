"""The function as Lambda starts it: nothing but orjson beside it, and its settings in the environment."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.function.streamed import Streamed
from tests.migration.applied import insert
from whimbrel.function import known

LOADED = """
import sys
import whimbrel.function.handler
print(*sorted({name.partition(".")[0] for name in sys.modules} - set(sys.stdlib_module_names)))
"""


def test_the_function_needs_only_orjson_beside_it() -> None:
    code = f"import sys; sys.path += {sys.path!r}\n{LOADED}"  # -S: what .pth files import is not ours
    loaded = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True)
    assert set(loaded.stdout.split()) <= {"orjson", "whimbrel", "__main__"}


@pytest.mark.slow
def test_the_handler_applies_a_batch(handled: Streamed) -> None:
    handled.source.transaction(insert(0, 1))
    handled.settle()
    assert handled.held() == handled.source.expected()


@pytest.mark.slow
def test_an_invocation_has_one_client_however_long_it_waits(
    streamed: Streamed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known, "IDLE_SECONDS", -1.0)  # each time that one is asked for, it is another one
    streamed.source.transaction(insert(0, 1))
    streamed.settle()
    assert streamed.held() == streamed.source.expected()
