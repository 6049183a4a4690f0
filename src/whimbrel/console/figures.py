"""Figures and reports of runs, as the files of a state folder have them: of any version, or half written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_NUMBERS = ("time", "lag_changes", "captured", "applied", "rows_per_second", "items_per_second", "applied_per_second")
_MAYBE = ("lag_seconds", "seconds_left", "asked", "refused_at", "throttles_per_second")
_COUNTS = ("estimated_rows", "exported_rows", "loaded_rows", "loaded_items", "sent_bytes")


def known_figures(found: Any) -> dict[str, Any] | None:
    """``found`` if it has everything that the page shows, each of its kind; else None."""
    if not isinstance(found, dict) or not isinstance(tables := found.get("tables"), dict):
        return None
    if not all(isinstance(found.get(name), str) for name in ("phase", "step")):
        return None
    numbers = all(_is_number(found.get(name)) for name in _NUMBERS)
    maybe = all(found.get(name) is None or _is_number(found[name]) for name in _MAYBE)
    counted = all(_has_numbers(each, _COUNTS) for each in tables.values())
    silos = found.get("silos", {})
    if not isinstance(silos, dict) or not all(map(_is_silo, silos.values())):
        return None
    words = isinstance(found.get("refused", ""), str)
    return found if numbers and maybe and counted and words else None


def known_report(found: Any) -> dict[str, Any] | None:
    """The same of the report of a verification."""
    if not isinstance(found, dict) or not _is_number(found.get("time")) or not isinstance(found.get("equal"), bool):
        return None
    tables = found.get("tables")
    return found if isinstance(tables, list) and all(map(_is_table_report, tables)) else None


def _is_silo(found: Any) -> bool:
    return (
        _has_numbers(found, ("lag_changes",))
        and all(isinstance(found.get(name), str) for name in ("phase", "note"))
        and (found.get("lag_seconds") is None or _is_number(found["lag_seconds"]))
        and isinstance(batches := found.get("batches"), list)
        and all(_has_numbers(each, ("time", "changes", "seconds")) for each in batches)
    )


def _is_table_report(found: Any) -> bool:
    return (
        _has_numbers(found, ("items", "rows", "found"))
        and isinstance(found.get("target"), str)
        and isinstance(counts := found.get("counts"), dict)
        and all(map(_is_number, counts.values()))
        and isinstance(differences := found.get("differences"), list)
        and all(isinstance(each, dict) for each in differences)
    )


def _has_numbers(found: Any, names: tuple[str, ...]) -> bool:
    return isinstance(found, Mapping) and all(_is_number(found.get(name)) for name in names)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
