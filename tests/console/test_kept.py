"""What runs keep for whoever looks later: events in words, and figures; and the line of a fault in a project file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.console.made import PROJECT, event
from whimbrel.migration import events, figures
from whimbrel.migration.events import read_events, read_new_events
from whimbrel.migration.figures import FigureFile, read_figures
from whimbrel.project.lines import line_of


def write(path: Path, *lines: dict[str, Any] | bytes) -> None:
    with path.open("ab") as file:
        for line in lines:
            file.write(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n")


def test_events_are_read_backwards_whatever_is_between(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_BLOCK", 1_000)
    path = tmp_path / "log"
    write(path, event(0, "info", "first"), b"\xff\xfe\n", b"[]\n", event(60, "error", "second " + "x" * 700))
    write(path, *(event(120 + number, "info", f"number {number}") for number in range(40)), b'{"half')
    found = read_events(path)
    assert [each.text[:9] for each in found[:2]] == ["number 39", "number 38"]
    assert [each.text[:6] for each in found[-2:]] == ["second", "first"]
    assert len(found) == 42
    pages, before = [], None
    while page := read_events(path, before=before, count=7):
        pages += page
        before = page[-1].place
    assert pages == found


def test_new_events_are_told_once_and_a_log_that_was_replaced_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "log"
    assert read_new_events(path, 0) == ([], 0)
    write(path, event(0, "info", "one"), b'{"half')
    found, place = read_new_events(path, 0)
    assert [each.text for each in found] == ["one"]
    write(path, b'": 1}\n', event(1, "warning", "two"))
    found, end = read_new_events(path, place)
    assert [(each.text, each.level) for each in found] == [("two", "warning")]
    assert read_new_events(path, end) == ([], end)
    path.write_text(json.dumps(event(2, "info", "another log")) + "\n")
    assert [each.text for each in read_new_events(path, end)[0]] == ["another log"]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ({"event": "said", "text": "Caught up."}, "Caught up."),
        ({"event": "phase done", "phase": "snapshot"}, "All tables are exported."),
        ({"event": "phase done", "phase": "of another version"}, "Phase done (phase of another version)"),
        ({"event": "chunk file", "reason": "is damaged", "traceback": "Traceback …"}, "Chunk file: is damaged"),
        ({"event": "something new", "a": 1, "b": ""}, "Something new (a 1)"),
    ],
)
def test_each_event_has_words(tmp_path: Path, line: dict[str, Any], text: str) -> None:
    write(tmp_path / "log", {"time": "2026-11-30T12:00:00.000Z", "level": "info", "logger": "whimbrel"} | line)
    assert [each.text for each in read_events(tmp_path / "log")] == [text]


def test_figures_are_thinned_by_the_worst_and_their_file_stays_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "MOST_BYTES", 20_000)
    path = tmp_path / "figures.jsonl"
    file = FigureFile(path)
    for number in range(500):
        file.add({"phase": "apply", "lag_seconds": 90.0 if number == 499 else 1.0, "tables": {"t": 1}})
    assert path.stat().st_size < 21_000
    found = read_figures(path, most=10)
    assert 5 < len(found) <= 10
    assert found[-1]["lag_seconds"] == 90.0
    assert read_figures(path, since=found[-1]["time"] + 60) == []


FILE = (
    PROJECT
    + """
[[table]]
source = "shop.a"
target = "a"
shape = "record"
partition_key = { name = "id" }

[[table]]
source = "shop.b"
target = "b"
shape = "group"
[table.sort_key]
name = "x"
"""
)


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        ("not readable as TOML: Expected '=' (at line 7, column 3)", 'region = "us-east-1"'),
        ("not readable as TOML: Expected ']]' at the end of an array declaration (at end of document)", 'name = "x"'),
        ("source.url: is missing", 'url = "mysql://whimbrel@127.0.0.1:1/shop"'),
        ("source.nothing: unknown key", "[source]"),
        ("target.max_write_units: must be a number", "max_write_units = 2000"),
        ("table shop.b: shape: must be 'record'", 'shape = "group"'),
        ("table shop.b: sort_key.name: is missing", "[table.sort_key]"),
        ("table 1: target: is missing", 'target = "a"'),
        ("shop.b: there is no column 'x'", "[[table]]"),
        (
            "table shop.a: entry_value names column 'idd', which shop.a does not have; the nearest is 'id'",
            'partition_key = { name = "id" }',
        ),
        ("table shop.a: something names 'nothing', which is nowhere", "[[table]]"),
        ("whatever it is", ""),
    ],
)
def test_a_fault_is_found_at_its_line(fault: str, line: str) -> None:
    assert FILE.splitlines()[line_of(FILE, fault) - 1] == line


def test_of_two_tables_the_fault_is_in_its_own() -> None:
    number = line_of(FILE, "table shop.b: target: is missing")
    assert FILE.splitlines()[number - 1] == 'target = "b"'
