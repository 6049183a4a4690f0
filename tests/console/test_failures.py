"""A failure of each kind, as the first screen says it: how bad it is, what it is, and what a person must do."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.console.made import Made
from whimbrel.console.overview import overview
from whimbrel.project import load_project

DIFFERENCE = {"table": "shop.customer", "kind": "missing", "key": {"id": {"N": "1"}}, "expected": {}, "found": None}
ENDED = "Ended by an error, "


class Disk(NamedTuple):
    free: int


@dataclass
class Case:
    """``words`` are in the first task: so are ``command``, and the ``page`` that it leads to."""

    make: Callable[[Made], object]
    level: str
    title: str
    words: tuple[str, ...] = ()
    command: str = ""
    page: str = ""
    free: int = 1 << 40


def following(then: Callable[[Made], object]) -> Callable[[Made], object]:
    def make(made: Made) -> None:
        made.running()
        then(made)

    return make


def ended(error: str) -> Callable[[Made], object]:
    return lambda made: made.events(2, ("error", ENDED + error))


CASES = {
    "the source is down while a run waits for it": Case(
        lambda made: made.running(asked=75.0), "bad", "The source does not answer", ("1 min 15 s", "Nothing is lost")
    ),
    "the source was down when a run began": Case(
        ended("SourceUnreachable: db:3306: connection refused. Is the server running?"),
        *("bad", "The run ended by an error"),
        ("connection refused", "Is the server running?", "Then start it again", "1 min"),
        "whimbrel migrate",
    ),
    "the target is down": Case(
        lambda made: made.running(refused="BatchWriteItem: connection refused", refused_at=42.0),
        *("bad", "DynamoDB takes no writes"),
        ("42 s", "connection refused", "nothing is lost"),
    ),
    "the target throttles all": Case(
        lambda made: made.running(refused="ProvisionedThroughputExceededException: too fast", refused_at=190.0),
        *("bad", "DynamoDB takes no writes"),
        ("3 min 10 s", "ProvisionedThroughputExceeded", "set max_write_units below it (now 2000.0)"),
    ),
    "the target throttles some": Case(
        lambda made: made.running(throttles_per_second=31.4),
        *("warn", "DynamoDB throttles the writes"),
        ("31 writes a second", "set max_write_units below it (now 2000.0)"),
    ),
    "the target denies": Case(
        ended("PrivilegeError: customer-items: not authorized. Give the account this permission; docs/security.md …"),
        *("bad", "The run ended by an error"),
        ("not authorized", "Give the account this permission"),
        "whimbrel migrate",
    ),
    "a change of the schema that cannot be followed": Case(
        ended("SchemaDrift: shop.customer: TRUNCATE removed rows. Begin again with a new state folder."),
        *("bad", "The run ended by an error"),
        ("TRUNCATE", "Begin again"),
        "whimbrel migrate",
    ),
    "a run that was killed": Case(
        lambda made: made.events(2), "warn", "Start it again: it continues from what was saved", (), "whimbrel migrate"
    ),
    "the disk is full": Case(
        lambda made: made.running(),
        *("bad", "The disk of the state folder is full"),
        ("3 MB are free", "Make room"),
        free=3_000_000,
    ),
    "the disk was full, and nothing could be noted": Case(
        lambda made: made.events(2), "bad", "The disk of the state folder is full", ("0 MB are free",), free=0
    ),
    "the disk is nearly full": Case(
        lambda made: made.running(),
        "warn",
        "The disk of the state folder is nearly full",
        ("300 MB",),
        free=300_000_000,
    ),
    "a dead letter": Case(
        following(lambda made: made.letters(1)),
        *("warn", "1 dead letter: a row that could not become an item"),
        ("the key is empty",),
        *("whimbrel retry-dead", "data"),
    ),
    "a difference": Case(
        following(lambda made: made.verification(DIFFERENCE)),
        *("bad", "1 item differs"),
        ("side by side",),
        *("whimbrel verify", "data"),
    ),
    "it falls behind": Case(
        lambda made: made.running(lag_seconds=600.0, lag_changes=9_000),
        *("warn", "DynamoDB is far behind the source"),
        ("10 min",),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_first_screen_says_what_is_wrong_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    case, made = CASES[name], Made(tmp_path)
    made.checkpoint()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Disk(case.free))
    case.make(made)
    found = overview(load_project(tmp_path / "whimbrel.toml"), "", False)
    first = found["tasks"][0]
    assert (found["verdict"]["level"], first["level"], first["title"]) == (case.level, case.level, case.title)
    assert [word for word in case.words if word not in first["text"]] == [], first["text"]
    waits = {"The source does not answer": "Waiting for the source", "DynamoDB takes no writes": "Waiting for DynamoDB"}
    assert case.title not in waits or found["verdict"]["title"] == waits[case.title]
    assert (first["command"], first["page"]) == (case.command, case.page)


def test_figures_of_another_form_are_not_believed(tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.checkpoint()
    wrong: tuple[dict[str, Any], ...] = ({"refused": 5}, {"refused_at": "x"}, {"throttles_per_second": []})
    for more in wrong:
        made.running(**more)
        found = overview(load_project(tmp_path / "whimbrel.toml"), "", False)
        assert (found["error"], found["running"]) == (None, None)
