"""Figures in words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any


def moment(seconds: float) -> str:
    """``seconds`` since the epoch."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(sep=" ", timespec="seconds")


def lag_words(figures: dict[str, Any]) -> str:
    """How far the target is behind, by ``Progress.to_dict``: seconds only where they are known."""
    if figures.get("caught_up"):
        return "caught up"
    seconds = figures.get("lag_seconds")
    return f"behind by {figures['lag_changes']:,} changes" + (f", {seconds:.1f} s" if seconds is not None else "")
