"""``python -m pytest -p tests.collecting``: garbage is collected after each test, and not only after each module, so
that what a test leaves open is its own failure.
"""

from __future__ import annotations

import gc

import pytest


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    gc.collect()
