"""What an invocation did, as one line of the embedded metric format: Lambda's log makes metrics of CloudWatch of it.

Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html

The stream's name is the only dimension, so there is one series of each metric for a migration. Nothing of a row is in
it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import orjson

NAMESPACE = "whimbrel"
DIMENSION = "Stream"
# Of CloudWatch, by the field of InvocationFigures: name and unit.
METRICS = {
    "changes": ("Changes", "Count"),
    "items": ("ItemsWritten", "Count"),
    "units": ("WriteUnits", "Count"),
    "throttles": ("WriteThrottles", "Count"),
    "letters": ("DeadLetters", "Count"),
    "gaps": ("MissingRecords", "Count"),
    "unreadable": ("UnreadableRecords", "Count"),
    "stopped_early": ("StoppedEarly", "Count"),
    "lag": ("Lag", "Milliseconds"),
    "record_age": ("RecordAge", "Milliseconds"),
}


@dataclass
class InvocationFigures:
    """``changes`` were applied, and ``items`` written with so many ``units``; ``throttles`` are refusals of DynamoDB.
    ``gaps`` are records before which something is missing. ``stopped_early`` is 1 where the batch is not done.
    ``lag``: how old the last change was when it was written; ``record_age``: the first record when it came; both in
    milliseconds, None where there was none.
    """

    changes: int = 0
    items: int = 0
    units: float = 0.0
    throttles: int = 0
    letters: int = 0
    gaps: int = 0
    unreadable: int = 0
    stopped_early: int = 0
    lag: float | None = None
    record_age: float | None = None


def line_of(stream: str, done: InvocationFigures) -> bytes:
    """Without a newline."""
    values = {name: value for field, (name, _) in METRICS.items() if (value := getattr(done, field)) is not None}
    metrics = [{"Name": name, "Unit": unit} for name, unit in METRICS.values() if name in values]
    directive = {"Namespace": NAMESPACE, "Dimensions": [[DIMENSION]], "Metrics": metrics}
    about = {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [directive]}
    return orjson.dumps({"_aws": about, DIMENSION: stream, **values})
