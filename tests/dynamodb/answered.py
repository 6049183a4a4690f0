"""Answers as DynamoDB documents them, and what is said of others."""

from __future__ import annotations

import re
from typing import Any

import pytest

from whimbrel.dynamodb.answers import Undocumented

USED = {"ConsumedCapacity": {"TableName": "t", "CapacityUnits": 1.0}}
ARN = "arn:aws:dynamodb:us-east-1:123456789012:table/t"
ODD = "is not as documented"


def refused(reason: str) -> Any:
    return pytest.raises(Undocumented, match=f"^{re.escape(reason)}$")


def counted(*items: Any, **more: Any) -> dict[str, Any]:
    """The answer to a Scan or a Query."""
    return USED | {"Items": list(items), "Count": len(items), "ScannedCount": len(items)} | more
