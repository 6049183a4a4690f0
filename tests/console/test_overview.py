"""What the first screen says of state folders of every kind, also of one that is being written, or is damaged."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.console.made import NAMES, START, Made, figures
from tests.console.running import Console, console
from whimbrel import checkpoint
from whimbrel.checkpoint import Checkpoint, TableProgress
from whimbrel.console.overview import overview
from whimbrel.migration.live import write_status
from whimbrel.project import load_project

pytest.importorskip("httptools", reason="the extra 'serve' is not installed")


def seen(folder: Path, steering: str = "") -> dict[str, Any]:
    return overview(load_project(folder / "whimbrel.toml"), steering, False)


@pytest.fixture(autouse=True)
def room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this machine's disk has."""
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1 << 40))


def titles(found: dict[str, Any]) -> list[str]:
    return [each["title"] for each in found["tasks"]]


def test_before_anything_has_begun(tmp_path: Path) -> None:
    Made(tmp_path)
    found = seen(tmp_path)
    assert (found["begun"], found["verdict"]["level"]) == (False, "idle")
    assert [each["command"] for each in found["tasks"]] == ["whimbrel check", "whimbrel migrate"]


def test_a_migration_that_follows_is_all_right(tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.checkpoint()
    made.running(caught_up=True, lag_seconds=0.0)
    made.verification()
    found = seen(tmp_path)
    assert found["verdict"] == {
        "level": "ok",
        "title": "Following the source",
        "text": "DynamoDB has every change. It goes on until you cut over.",
    }
    assert titles(found) == ["Ready for the cutover's plan"]
    assert [(each["name"], each["state"]) for each in found["phases"]] == [
        ("Start", "done"),
        ("Snapshot", "done"),
        ("Load", "done"),
        ("Follow", "now"),
        ("Verify", "done"),
        ("Cut over", "later"),
    ]
    assert [each["source"] for each in found["tables"]] == list(NAMES)
    assert {(each["items"], each["bytes"], each["differences"], each["dead"]) for each in found["tables"]} == {
        (48_211, 9_400_000, 0, 0)
    }


def test_how_long_the_load_takes_still(tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.checkpoint("load", rows=20_000)
    made.running("load", seconds_left=734.0, items_per_second=3120.0, lag_seconds=None)
    found = seen(tmp_path)
    assert found["verdict"]["title"] == "Loading items"
    assert found["verdict"]["text"].startswith("About 12 min 14 s left")
    load = found["phases"][2]
    assert (load["state"], load["rate"], load["seconds_left"]) == ("now", 3120.0, 734.0)


def test_a_run_that_ended_by_an_error_says_which_and_what_to_do(tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.checkpoint()
    made.events(3, ("error", "Ended by an error, SourceUnreachable: connection refused. Is it running?"))
    found = seen(tmp_path)
    assert (found["verdict"]["level"], found["verdict"]["title"]) == ("bad", "Nothing is running")
    assert "connection refused" in found["tasks"][0]["text"]
    assert found["tasks"][0]["command"] == "whimbrel migrate"
    made.events(0, ("info", "Caught up; following the source until Ctrl-C."))
    assert "refused" not in seen(tmp_path)["tasks"][0]["text"], "the error is of an earlier run"


def test_the_worst_comes_first(tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.checkpoint()
    made.running(lag_seconds=400.0, lag_changes=90_000)
    made.letters(3)
    kind = {"table": "shop.customer", "kind": "missing", "key": {"id": {"N": "1"}}, "expected": {}, "found": None}
    made.verification(kind)
    found = seen(tmp_path)
    assert [each["level"] for each in found["tasks"]] == ["bad", "warn", "warn"]
    assert titles(found)[0] == "1 item differs"
    assert found["verdict"]["level"] == "bad"
    [customer] = [each for each in found["tables"] if each["source"] == "shop.customer"]
    assert (customer["differences"], customer["dead"]) == (1, 3)


@pytest.mark.parametrize(
    ("step", "title"),
    [
        ("CUTTING", "Continue what was broken off"),
        ("DECIDED", "Continue what was broken off"),
        ("CLOSING", "Continue what was broken off"),
        ("RETURNED", "Continue what was broken off"),
        ("OPEN", "Nobody follows DynamoDB back into the source"),
    ],
)
def test_a_handover_that_nobody_continues_needs_a_person(tmp_path: Path, step: str, title: str) -> None:
    made = Made(tmp_path)
    made.checkpoint()
    made.handover(step, closed_at=time.time() - 60, starts={"t": {"s": "1"}})
    found = seen(tmp_path)
    assert title in titles(found)
    assert found["verdict"]["level"] == "bad"
    assert title not in titles(seen(tmp_path, steering="cutover")), "the console itself is at it"


def test_after_the_cutover_the_way_back_is_counted_down(tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.checkpoint()
    made.handover("OPEN", closed_at=time.time() - 600, starts={"t": {"s": "1"}})
    made.way_back(1.5)
    found = seen(tmp_path)
    assert found["verdict"]["text"] == "The source can be opened again for 23 h 59 min."
    assert found["verdict"]["level"] == "ok"


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def cut_handover(made: Made) -> None:
    made.handover("OPEN")
    cut(made.state / "handover.json")


DAMAGED: dict[str, Callable[[Made], object]] = {
    "a checkpoint cut off": lambda made: cut(made.state / "checkpoint.json"),
    "a checkpoint of another content": lambda made: (made.state / "checkpoint.json").write_text("[1]"),
    "a handover cut off": cut_handover,
    "dead letters that are none": lambda made: (made.state / "dead.jsonl").write_text('{"a": 1}\n'),
    "dead letters of another form": lambda made: (made.state / "dead.jsonl").write_text("[[[\n"),
    "a note of late writes": lambda made: (made.state / "late.json").write_text("{}"),
}
HARMLESS: dict[str, Callable[[Made], object]] = {
    "half a status": lambda made: cut(made.state / "status.json"),
    "a status of another form": lambda made: (made.state / "status.json").write_text('{"time": 1e12}'),
    "a report of another form": lambda made: (made.state / "verification.json").write_text('{"tables": [1]}'),
    "a log of other things": lambda made: (made.state / "whimbrel.log").write_bytes(b'\xff\n{}\n[]\n{"event": 1}\nx'),
    "figures of other things": lambda made: (made.state / "figures.jsonl").write_bytes(b'\xff\n{}\n[1]\n{"time": "x"}'),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_state_folder_is_named_on_the_page(tmp_path: Path, name: str) -> None:
    made = Made(tmp_path)
    made.checkpoint()
    made.running()
    DAMAGED[name](made)
    found = seen(tmp_path)
    assert found["verdict"]["level"] == "bad"
    assert found["error"]["error"] in ("StateError", "LogCorrupt")
    assert str(made.state) in found["error"]["place"] + found["error"]["message"]


@pytest.mark.parametrize("name", HARMLESS)
def test_what_nothing_depends_on_may_be_damaged(tmp_path: Path, name: str) -> None:
    made = Made(tmp_path)
    made.checkpoint()
    made.running()
    HARMLESS[name](made)
    assert seen(tmp_path)["error"] is None


def followed(found: Console, seen: str) -> tuple[str, dict[str, Any]]:
    """The next answer of the stream: the id of its last event, and what each event has."""
    answer = found.ask("GET", found.home + f"stream?after={seen}")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/event-stream")
    lines = answer.body.decode().split("\n\n")
    fields = [dict(line.split(": ", 1) for line in each.splitlines() if ": " in line) for each in lines]
    last = [each["id"] for each in fields if "id" in each][-1]
    return last, {each["event"]: json.loads(each["data"]) for each in fields if "event" in each}


def test_what_is_new_comes_by_itself_and_once(tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.checkpoint()
    made.events(2)
    with console(tmp_path) as found:
        found.open()
        place, events = followed(found, "")
        while "overview" not in events or "log" not in events:
            place, more = followed(found, place)
            events |= more
        assert events["overview"]["verdict"]["title"] == "Nothing is running"
        assert len(events["log"]) == 2
        made.events(0, ("error", "<script>alert(1)</script>"))
        news: dict[str, Any] = {}
        while "log" not in news:
            place, news = followed(found, place)
        assert [each["text"] for each in news["log"]] == ["<script>alert(1)</script>"]


@pytest.mark.slow
def test_ten_thousand_events_and_five_hundred_tables_are_told_at_once(tmp_path: Path) -> None:
    names = tuple(f"shop.table_{number}" for number in range(500))
    made = Made(tmp_path, names)
    made.checkpoint()
    made.running()
    made.events(10_000)
    with console(tmp_path) as found:
        found.open()
        while found.get("start")["overview"] is None:
            time.sleep(0.05)
        began = time.monotonic()
        start = found.get("start")
        assert time.monotonic() - began < 2.0
        assert len(start["overview"]["tables"]) == 500
        places, last = [each["place"] for each in start["events"]], start["events"][-1]["place"]
        while more := found.get(f"events?before={last}"):
            places += [each["place"] for each in more]
            last = places[-1]
        assert len(places) == len(set(places)) == 10_000
        assert places == sorted(places, reverse=True)


@pytest.mark.slow
def test_a_project_file_that_is_changed_is_read_again(tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.checkpoint()
    file = tmp_path / "whimbrel.toml"
    text = file.read_text()
    with console(tmp_path) as found:
        found.open()
        place, cap, tried = "", 0, iter(["not TOML", text.replace("max_write_units = 2000", "max_write_units = 77")])
        while cap != 77:
            place, events = followed(found, place)
            cap = events["overview"]["project"]["max_write_units"] if events.get("overview") else cap
            if cap == 2_000 and (new := next(tried, "")):
                file.write_text(new)


def test_dead_letters_come_in_pages(tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.checkpoint()
    made.letters(120)
    made.letters(1, "x" * 100_000)
    with console(tmp_path) as found:
        found.open()
        letters, following = [], 0
        while following is not None:
            page = found.get(f"letters?after={following}")
            letters += page["letters"]
            following = page["next"]
        assert len(letters) == 121
        assert (len(letters[-1]["reason"]), letters[-1]["after"]) == (1_000, None)


SILOS = """
[warehouse]
engine = "duckdb"
url = "warehouse.duckdb"
[[silo]]
name = "shop"
url = "mysql://whimbrel@127.0.0.1:1/shop"
[[silo]]
name = "tickets"
url = "mysql://whimbrel@127.0.0.1:1/tickets"
"""


def test_the_silos_of_a_warehouse_are_told(tmp_path: Path) -> None:
    (tmp_path / "whimbrel.toml").write_text(SILOS)
    first = seen(tmp_path)
    assert (first["verdict"]["title"], first["tasks"][1]["command"]) == ("Nothing has begun yet", "whimbrel converge")
    silo = tmp_path / ".whimbrel" / "silos" / "shop"
    (tmp_path / ".whimbrel").mkdir(mode=0o700)
    silo.mkdir(parents=True)
    tables = {"shop.t": TableProgress(1, 30, frozenset({1}), 20, 20)}
    checkpoint.save(silo / "checkpoint.json", Checkpoint(phase="apply", start=START, tables=tables))
    ended = seen(tmp_path)
    assert (ended["verdict"]["level"], ended["verdict"]["title"]) == ("warn", "Nothing is running")
    assert ended["tasks"][0]["command"] == "whimbrel converge"
    batch = {"time": time.time() - 3, "changes": 1_204, "seconds": 0.81}
    live = {"phase": "apply", "note": "", "batches": [batch], "lag_changes": 7, "lag_seconds": 2.5, "caught_up": False}
    write_status(tmp_path / ".whimbrel" / "status.json", figures("apply", ("shop.t",), silos={"shop": live}))
    now = seen(tmp_path)
    assert now["verdict"] == {"level": "ok", "title": "Following the sources", "text": "0 changes behind, 0.4 s."}
    whole = (silo / "checkpoint.json").read_bytes()
    (silo / "checkpoint.json").write_bytes(whole[:20])
    assert seen(tmp_path)["verdict"]["title"] == "The state folder cannot be read"
    (silo / "checkpoint.json").write_bytes(whole)
    away = figures("apply", ("shop.t",), asked=75.0, note="shop: the warehouse cannot be reached: refused")
    write_status(tmp_path / ".whimbrel" / "status.json", away)
    assert titles(seen(tmp_path)) == ["The source does not answer", "A silo waits"]
    write_status(tmp_path / ".whimbrel" / "status.json", figures("apply", ("shop.t",), silos={"shop": live}))
    with console(tmp_path) as found:
        found.open()
        answer = found.post("ask/warehouse").json()
    assert [each["live"] for each in answer["silos"]] == [live, None]
    assert [(each["name"], each["phase"], each["exported"], each["loaded"]) for each in answer["silos"]] == [
        ("shop", "apply", 30, 20),
        ("tickets", "new", 0, 0),
    ]
