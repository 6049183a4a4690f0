"""``python -m pytest -p tests.collecting``: garbage is collected after each test. What a test leaves open is then its
own failure; otherwise it is that of whichever test runs when it happens to be collected.
"""

from __future__ import annotations

import gc

import pytest


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    gc.collect()
