"""Questions that the page asks and that are answered at once, each by a function of ``whimbrel.api``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from whimbrel.project import Project

Read = Callable[[], Project]
Given = Mapping[str, Any]

ASKS: dict[str, Callable[[Read, Given], Any]] = {}
SAVES: set[str] = set()  # of these, those that write something
