"""GTID sets, cut to a length that a person reads; the log has them whole."""

from __future__ import annotations

import re

LONGEST = 90  # characters of a set that is shown whole
_UUID = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_MEMBER = rf"{_UUID}(?::[\w-]+)+"  # MySQL's: a server, tags, and intervals
_PLACE = r"\d+-(?:0|[1-9]\d*)-(?:0|[1-9]\d*)"  # MariaDB's: domain, server, number
_SET = re.compile(rf"{_MEMBER}(?:,\s*{_MEMBER})*|{_PLACE}(?:,\s*{_PLACE})+")


def shortened(text: str) -> str:
    """``text`` with the long GTID sets in it cut: the first member is left, and how many more there are is said."""
    return _SET.sub(_short, text)


def _short(found: re.Match[str]) -> str:
    if len(found[0]) <= LONGEST:
        return found[0]
    first, *more = re.split(r",\s*", found[0])
    server, *intervals = first.split(":")
    if len(intervals) > 2:
        first = f"{server}:{intervals[0]}:…:{intervals[-1]}"
    return f"{first},… ({len(more)} more)" if more else first
