"""What a JSON text says, for an engine that keeps the value and not the text: Redshift's SUPER."""

from __future__ import annotations

import json
from decimal import MAX_PREC, Context, Decimal
from typing import Any

NULL = "null"
_EXACT = Context(prec=MAX_PREC)


def same_json(text: str) -> str:
    """One text for all that say the same: without blanks, keys in order, and numbers as decimals."""
    return json.dumps(_plain(json.loads(text, parse_int=Decimal, parse_float=Decimal)), sort_keys=True)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, Decimal):
        return {"": f"{_EXACT.normalize(value):f}" if value else "0"}  # which no text is taken for
    return value
