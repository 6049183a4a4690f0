"""``verification.json``: what the last whole verification found, for whoever looks at it later. Nothing is decided by
it: ``verified.json`` says what a cutover builds on.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

MOST = 1_000  # differences that are kept, of all tables


def keep_report(path: Path, report: dict[str, Any]) -> None:
    """A report as ``Verification.to_dict`` gives it, with the time at which it was made."""
    left, tables = MOST, []
    for table in report["tables"]:
        named = table["differences"][:left]
        left -= len(named)
        tables.append(table | {"differences": named, "waived": table["waived"][:MOST]})
    kept = {"time": time.time(), "equal": report["equal"], "tables": tables}
    with suppress(OSError):  # nothing depends on it, and a full disk is found out by who must write
        fresh = path.with_suffix(".new")
        fresh.write_bytes(orjson.dumps(kept))
        fresh.replace(path)


def read_report(path: Path) -> dict[str, Any] | None:
    """None where there was no verification, or its report cannot be read."""
    with suppress(OSError, ValueError, TypeError):
        found = json.loads(path.read_bytes())
        if isinstance(found, dict) and isinstance(found.get("tables"), list):
            return found
    return None
