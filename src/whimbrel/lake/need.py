"""Packages that only some commands need: imported where they are used, asked for by name where they are missing."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from whimbrel.errors import UserError


def need(module: str, extra: str) -> Any:
    """The module. Raises UserError that says which extra brings it."""
    try:
        return import_module(module)
    except ImportError as error:
        hint = f"Install it with: pip install 'whimbrel[{extra}]'"
        raise UserError(f"the package {module.partition('.')[0]} is not installed", hint=hint) from error
