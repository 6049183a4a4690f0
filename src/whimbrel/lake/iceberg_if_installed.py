"""Our module of Iceberg, for those that work without it where nothing is published."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from whimbrel.lake.need import need


def need_iceberg() -> Any:
    """Our module, where what it stands on is installed. Raises UserError."""
    need("pyiceberg", "iceberg")
    return import_module("whimbrel.lake.iceberg")
