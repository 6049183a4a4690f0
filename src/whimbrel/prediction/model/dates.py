"""Dates as inputs: from an ISO date or timestamp to numbers, by the same code in training and when serving.

Where a text names no zone it is taken as UTC, and one that names another is moved to it.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Any

PARTS = ("year", "month", "weekday", "days", "hour")  # weekday: Monday is 0; days: since 1970; hour: with its fraction
_ISO = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?)?", re.ASCII)
_FIRST_DAY = date(1970, 1, 1).toordinal()


def date_parts(value: Any) -> tuple[float | None, ...]:
    """A number for each of PARTS, all None for a missing date. Raises ValueError on what is not a date."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return (None,) * len(PARTS)
    moment = _moment(value)
    hour = moment.hour + moment.minute / 60 + moment.second / 3600
    days = moment.toordinal() - _FIRST_DAY
    return float(moment.year), float(moment.month), float(moment.weekday()), float(days), hour


def date_part(value: Any, part: str) -> float | None:
    return date_parts(value)[PARTS.index(part)]


def is_date(value: Any) -> bool:
    """Whether this is a date, a timestamp, or the text of one."""
    try:
        _moment(value)
    except (ValueError, OverflowError):
        return False
    return True


def _moment(value: Any) -> datetime:
    if isinstance(value, str):
        if not _ISO.fullmatch(value.strip()):
            raise ValueError("must be a date")
        value = datetime.fromisoformat(value.strip())
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    raise ValueError("must be a date")
