"""Waiting as short as in the tests of the function."""

from __future__ import annotations

from tests.function.conftest import soon

__all__ = ["soon"]
