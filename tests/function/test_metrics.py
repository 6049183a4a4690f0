"""The line of metrics is what CloudWatch's embedded metric format asks for, and says nothing of a row."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cfnlint.jsonschema import StandardValidator  # type: ignore[import-untyped]

from tests.function.streamed import Streamed
from tests.migration.applied import insert
from whimbrel.aws import through
from whimbrel.function import metrics
from whimbrel.function.metrics import InvocationFigures, line_of

UNITS = ["Seconds", "Milliseconds", "Bytes", "Percent", "Count", "None"]  # and others of the like
NAME = {"type": "string", "minLength": 1, "maxLength": 255}
# The published schema's demands, and the rules that its text adds: no other members, and the numbers of them.
SCHEMA = {
    "type": "object",
    "required": ["_aws"],
    "properties": {
        "_aws": {
            "type": "object",
            "required": ["Timestamp", "CloudWatchMetrics"],
            "additionalProperties": False,
            "properties": {
                "Timestamp": {"type": "integer"},
                "CloudWatchMetrics": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["Namespace", "Dimensions", "Metrics"],
                        "additionalProperties": False,
                        "properties": {
                            "Namespace": NAME,
                            "Dimensions": {
                                "type": "array",
                                "minItems": 1,
                                "items": {"type": "array", "maxItems": 9, "items": NAME},
                            },
                            "Metrics": {
                                "type": "array",
                                "maxItems": 100,
                                "items": {
                                    "type": "object",
                                    "required": ["Name"],
                                    "additionalProperties": False,
                                    "properties": {"Name": NAME, "Unit": {"type": "string", "enum": UNITS}},
                                },
                            },
                        },
                    },
                },
            },
        }
    },
}


def read(line: bytes) -> dict[str, Any]:
    """A line's values, once it has been checked."""
    fields: dict[str, Any] = json.loads(line)
    assert not [str(error) for error in StandardValidator(SCHEMA).iter_errors(fields)]
    [directive] = fields.pop("_aws")["CloudWatchMetrics"]
    dimensions = {name for names in directive["Dimensions"] for name in names}
    named = [metric["Name"] for metric in directive["Metrics"]]
    assert dimensions == {"Stream"}  # of one value for a migration
    assert set(fields) == dimensions | set(named)
    assert len(named) == len(set(named))
    assert all(type(fields[name]) is str for name in dimensions)
    assert all(type(fields[name]) in (int, float) for name in named)
    return fields


def test_a_line_is_as_the_format_is_published() -> None:
    whole = InvocationFigures(3, 2, 4.5, 1, 1, 1, 1, 1, 12.5, 250.0)
    assert read(line_of("s", whole)) == {
        "Stream": "s",
        "Changes": 3,
        "ItemsWritten": 2,
        "WriteUnits": 4.5,
        "WriteThrottles": 1,
        "DeadLetters": 1,
        "MissingRecords": 1,
        "UnreadableRecords": 1,
        "StoppedEarly": 1,
        "Lag": 12.5,
        "RecordAge": 250.0,
    }
    assert read(line_of("s", InvocationFigures())).keys() == {
        "Stream", *(name for name, _ in metrics.METRICS.values() if name not in ("Lag", "RecordAge"))
    }  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [
        lambda fields: fields.pop("_aws"),
        lambda fields: fields["_aws"].pop("Timestamp"),
        lambda fields: fields["_aws"].update(Timestamp="now"),
        lambda fields: fields["_aws"]["CloudWatchMetrics"][0]["Metrics"][0].update(Unit="Items"),
        lambda fields: fields["_aws"]["CloudWatchMetrics"][0].update(Dimensions=["Stream"]),
        lambda fields: fields.update(id=7),
        lambda fields: fields.pop("Changes"),
    ],
)
def test_the_check_of_a_line_finds_what_is_wrong(wrong: Callable[[dict[str, Any]], object]) -> None:
    fields = json.loads(line_of("s", InvocationFigures()))
    wrong(fields)
    with pytest.raises(AssertionError):
        read(json.dumps(fields).encode())


def test_an_invocation_says_what_it_did_and_nothing_of_a_row(
    handled: Streamed, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = "tell-nobody"
    handled.source.transaction(insert(0, 1, secret), insert(0, 2, secret), insert(0, 3, "b" * 410_000))
    handled.kinesis.put_record(StreamName=handled.stream, Data=b"garbage", PartitionKey="p")
    handled.settle()
    out = capsys.readouterr().out
    lines = [read(line.encode()) for line in out.splitlines()]
    total = {name: sum(line.get(name, 0) for line in lines) for name in ("Changes", "ItemsWritten", "DeadLetters")}
    assert total == {"Changes": 3, "ItemsWritten": 2, "DeadLetters": 1}
    assert sum(line["UnreadableRecords"] for line in lines) == 1
    assert sum(line["WriteUnits"] for line in lines) >= 2
    assert all(0 <= line["RecordAge"] < 60_000 for line in lines)
    assert {line["Stream"] for line in lines} == {handled.stream}
    assert secret not in out
    assert handled.migration not in out


def test_each_alarm_is_on_a_metric_that_the_function_makes() -> None:
    ours = [each["Properties"] for each in through._alarms().values() if each["Properties"]["Namespace"] == "whimbrel"]
    assert {each["MetricName"] for each in ours} == {"Lag", "DeadLetters", "StoppedEarly"}
    assert {each["MetricName"] for each in ours} <= {name for name, _ in metrics.METRICS.values()}
    assert all(each["Dimensions"] == [{"Name": "Stream", "Value": {"Ref": "StreamName"}}] for each in ours)


def test_the_page_names_each_metric() -> None:
    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
    section = page.partition("## Of the function that applies changes")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `(\w+)`", section, re.MULTILINE) == [name for name, _ in metrics.METRICS.values()]
