"""What needs a person, the worst first, and the one sentence at the top of the page."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from whimbrel.api.status import Status
from whimbrel.handed_over import CLOSING, CUTTING, DECIDED, FINISHED, FOLLOWING, OPEN, RETURNED
from whimbrel.migration.events import ENDED
from whimbrel.project import OFF, Project

CLOSE_BEHIND, FAR_BEHIND = 5.0, 60.0  # seconds
SILENT = 10.0  # seconds: the source is asked every two
THROTTLED = 1.0  # writes a second that DynamoDB refuses, from which a person is told
FULL, NEARLY_FULL = 64 << 20, 512 << 20  # bytes that are free on the disk of the state folder
SOON_GONE = 4 * 3600.0  # seconds that the way back remains
BAD, WARN, INFO = "bad", "warn", "info"
_ORDER = (BAD, WARN, INFO)


@dataclass(frozen=True, slots=True)
class Standing:
    """``events`` are the newest ones first; ``steering`` what the console itself is at. ``free`` are the bytes that the
    disk of the state folder still takes.
    """

    project: Project
    now: Status
    report: Mapping[str, Any] | None
    events: list[dict[str, Any]]
    steering: str
    free: int


def verdict_and_tasks(facts: Standing) -> tuple[dict[str, str], list[dict[str, str]]]:
    """``level``, ``title`` and ``text`` of how things stand; and what a person should do, each with the ``command`` and
    the ``page`` where that is done.
    """
    tasks = sorted(_tasks(facts), key=lambda each: _ORDER.index(each["level"]))
    title, text = _standing(facts)
    worst = tasks[0]["level"] if tasks else INFO
    level = "ok" if worst == INFO else worst
    return {"level": level, "title": title, "text": text}, tasks


def verdict_of_a_warehouse(
    live: Mapping[str, Any] | None, events: list[dict[str, Any]]
) -> tuple[dict[str, str], list[dict[str, str]]]:
    """The same of a project that has a warehouse, and no table to migrate."""
    if live is None:
        again = _start_again(events, "whimbrel converge")
        text = "What the warehouse has is saved with its place in each source's log."
        return {"level": again["level"], "title": "Nothing is running", "text": text}, [again]
    tasks = [task(BAD, "The source does not answer", _waits(live["asked"]))] if _is_silent(live) else []
    if note := live.get("note"):
        tasks.append(task(WARN, "A silo waits", str(note)[:500], page="warehouse"))
    doing = {"snapshot": "Exporting the tables", "load": "Loading rows", "apply": "Following the sources"}
    title, seconds = doing.get(live["phase"], "Starting"), live.get("lag_seconds")
    behind = "The warehouse has every change." if live.get("caught_up") else f"{live['lag_changes']:,} changes behind"
    text = behind + (f", {duration(seconds)}." if seconds and not live.get("caught_up") else "")
    level = tasks[0]["level"] if tasks else "ok"
    return {"level": level, "title": title, "text": text if live["phase"] == "apply" else ""}, tasks


def _is_silent(live: Mapping[str, Any]) -> bool:
    return (asked := live.get("asked")) is not None and asked > SILENT and live["phase"] != "verify"


def _waits(asked: float) -> str:
    return f"For {duration(asked)}. Nothing is lost while it is away."


def _standing(facts: Standing) -> tuple[str, str]:
    now, live, step = facts.now, facts.now.running, facts.now.handover.step
    if facts.steering and not (facts.steering == "cutover" and step == OPEN):  # which only follows by then
        return f"{facts.steering.capitalize()} under way", "Started from this console."
    if step == FINISHED:
        return "Finished", "DynamoDB takes writes, and the way back was given up."
    if step in (DECIDED, CLOSING, RETURNED, CUTTING):
        return "Between the two sides", _STEPS[step]
    if step == OPEN:
        return "DynamoDB takes writes", _way_back(now)
    if live is None:
        return "Nothing is running", f"What was done so far is saved: {_SAVED.get(now.checkpoint.phase, '')}."
    if live["step"]:
        return "A cutover or a rollback is under way", f"By another process: {live['step']}."
    if live.get("refused"):
        return "Waiting for DynamoDB", f"It has taken no write for {duration(live.get('refused_at') or 0.0)}."
    if _is_silent(live):
        return "Waiting for the source", f"It was last heard {duration(live['asked'])} ago."
    known = _PHASES.get(live["phase"])
    return known(live) if known else (f"Running: {live['phase']}", "")


def _way_back(now: Status) -> str:
    way = now.way_back
    if way is None:
        return "There is no way back."
    if not way.remains_seconds:
        return "The way back is gone: the stream no longer has what the source lacks."
    return f"The source can be opened again for {duration(way.remains_seconds)}."


def _following(live: Mapping[str, Any]) -> tuple[str, str]:
    if live.get("caught_up"):
        return "Following the source", "DynamoDB has every change. It goes on until you cut over."
    seconds = live.get("lag_seconds")
    if seconds is not None and seconds <= CLOSE_BEHIND:
        return "Following the source", f"DynamoDB is {duration(seconds)} behind."
    behind = f"{live['lag_changes']:,} changes behind" + (f", {duration(seconds)}" if seconds is not None else "")
    left = live.get("seconds_left")
    return "Catching up with the source", behind + (f"; caught up in about {duration(left)}" if left else "")


def _moving(doing: str, then: str, live: Mapping[str, Any]) -> tuple[str, str]:
    left = live.get("seconds_left")
    time_left = f"About {duration(left)} left" if left is not None else "How long still is not known yet"
    return doing, f"{time_left}; then {then}."


_PHASES: dict[str, Callable[[Mapping[str, Any]], tuple[str, str]]] = {
    "start": lambda live: ("Starting", "The place is being fixed from which every change is captured."),
    "snapshot": lambda live: _moving("Exporting the tables", "the rows are loaded", live),
    "load": lambda live: _moving("Loading items", "the changes since the start are applied", live),
    "apply": _following,
    "verify": lambda live: ("Comparing both sides", "Every row and every item is read."),
    "capture": lambda live: ("Capturing changes", f"{live['captured']:,} so far."),
}
_SAVED = {
    "new": "nothing yet",
    "snapshot": "rows that are exported",
    "load": "all rows are exported, and some are loaded",
    "apply": "all rows are loaded, and changes up to a place in the source's log",
}
_STEPS = {
    CUTTING: "A cutover is under way; the decision has not been made.",
    DECIDED: "The cutover is decided; DynamoDB opens when the application has been told.",
    CLOSING: "A rollback is under way: DynamoDB is being closed for writes.",
    RETURNED: "The return is decided; the source opens when the application has been told.",
}


def _tasks(facts: Standing) -> Iterator[dict[str, str]]:
    yield from _of_the_handover(facts)
    yield from _of_the_run(facts)
    yield from _of_the_data(facts)
    yield from _next_steps(facts)


def _of_the_handover(facts: Standing) -> Iterator[dict[str, str]]:
    now, step, busy = facts.now, facts.now.handover.step, facts.steering or facts.now.running
    commands = {
        CUTTING: "whimbrel cutover",
        DECIDED: "whimbrel cutover",
        CLOSING: "whimbrel rollback",
        RETURNED: "whimbrel rollback",
    }
    if step in commands and not busy:
        text = f"{_STEPS[step]} No process is at work on it."
        yield task(BAD, "Continue what was broken off", text, commands[step], "cutover")
    if way := now.way_back:
        if not way.remains_seconds:
            yield task(BAD, "The way back is gone", way.ended, "", "cutover")
        elif not way.following and not facts.steering:
            text = f"{way.ended} It is gone in {duration(way.remains_seconds)}.".strip()
            yield task(BAD, "Nobody follows DynamoDB back into the source", text, "whimbrel cutover", "cutover")
        elif way.remains_seconds < SOON_GONE:
            text = f"The source is {duration(way.lag_seconds)} behind DynamoDB."
            yield task(BAD, f"The way back remains for {duration(way.remains_seconds)} only", text, "", "cutover")
        if way.dead_letters:
            text = "See reverse-dead.jsonl in the state folder. A rollback refuses until they are waived."
            yield task(WARN, f"{way.dead_letters:,} items could not be written back", text, "", "cutover")
    if (past := now.past_fence) and (past.count or past.faults or past.ended):
        text = "; ".join(filter(None, (past.first if past.count else "", *past.faults, past.ended)))
        yield task(BAD, f"{past.count:,} changes by others at the source since the cutover", text, "", "cutover")
    if (late := now.late) and (late.count or late.unknown or late.ended):
        text = f"After the rollback. See {late.path}. {late.ended}".strip()
        yield task(BAD, f"{late.count:,} late writes at DynamoDB", text, "", "cutover")


def _of_the_run(facts: Standing) -> Iterator[dict[str, str]]:
    live, step = facts.now.running, facts.now.handover.step
    if facts.free < NEARLY_FULL:
        full, title = facts.free < FULL, "The disk of the state folder is full"
        text = f"{facts.free / 1e6:,.0f} MB are free. Make room: changes can only be captured while they can be kept."
        yield task(BAD if full else WARN, title if full else "The disk of the state folder is nearly full", text)
    if live is None:
        if step == FOLLOWING and not facts.steering:
            yield _start_again(facts.events, "whimbrel migrate")
        return
    if _is_silent(live):
        yield task(BAD, "The source does not answer", _waits(live["asked"]))
    if (seconds := live.get("lag_seconds")) is not None and seconds > FAR_BEHIND and live["phase"] == "apply":
        text = f"By {duration(seconds)}. Raise max_write_units if DynamoDB has more capacity."
        yield task(WARN, "DynamoDB is far behind the source", text)

    cap = facts.project.target.max_write_units or "none"
    remedy = f"If the tables have too little capacity, give them more, or set max_write_units below it (now {cap})."
    if reason := live.get("refused"):
        text = (
            f"For {duration(live.get('refused_at') or 0.0)}: {reason[:500]}\nThey are sent again, and nothing is lost."
        )
        yield task(BAD, "DynamoDB takes no writes", f"{text} {remedy}")
    elif (throttles := live.get("throttles_per_second") or 0.0) >= THROTTLED:
        text = f"It refuses {throttles:,.0f} writes a second, which are sent again."
        yield task(WARN, "DynamoDB throttles the writes", f"{text} {remedy}")


def _start_again(events: list[dict[str, Any]], command: str) -> dict[str, str]:
    newest = events[0] if events else {"text": ""}
    if not newest["text"].startswith(ENDED):
        return task(WARN, "Start it again: it continues from what was saved", "", command)
    error = newest["text"].removeprefix(f"{ENDED}, ")
    text = f"{_age(newest['time'])} ago: {error}\nThen start it again: it continues from what was saved."
    return task(BAD, "The run ended by an error", text, command)


def _of_the_data(facts: Standing) -> Iterator[dict[str, str]]:
    now, report = facts.now, facts.report
    if now.dead_letters:
        text = f"The most frequent reason: {now.reasons[0][0][:300]}" if now.reasons else ""
        what = "1 dead letter: a row" if now.dead_letters == 1 else f"{now.dead_letters:,} dead letters: rows"
        title = f"{what} that could not become {'an item' if now.dead_letters == 1 else 'items'}"
        yield task(WARN, title, text, "whimbrel retry-dead", "data")
    if report and not report["equal"]:
        count = sum(sum(table["counts"].values()) for table in report["tables"])
        text = "Found by the last verification; both values are shown side by side."
        title = "1 item differs" if count == 1 else f"{count:,} items differ"
        yield task(BAD, title, text, "whimbrel verify", "data")
    if facts.project.target.mark == OFF:
        text = "A second state folder on the same target would not be noticed."
        yield task(INFO, 'The mark is off (mark = "off" in [target])', text)


def _next_steps(facts: Standing) -> Iterator[dict[str, str]]:
    now, step, live = facts.now, facts.now.handover.step, facts.now.running
    if facts.steering or now.checkpoint.phase != "apply":
        return
    lag = live.get("lag_seconds") if live else None
    if step == FOLLOWING and lag is not None and lag <= CLOSE_BEHIND:
        if not facts.report:
            yield task(INFO, "Verify both sides", "The cutover needs a verification.", "whimbrel verify", "cutover")
        elif facts.report["equal"]:
            yield task(INFO, "Ready for the cutover's plan", "", "whimbrel cutover --plan", "cutover")
    if step == OPEN and now.way_back and now.way_back.following:
        text = "Until then everything written to DynamoDB goes to the source, too."
        yield task(INFO, "Finish when you are sure that you will not return", text, "whimbrel finish", "cutover")


def task(level: str, title: str, text: str = "", command: str = "", page: str = "") -> dict[str, str]:
    return {"level": level, "title": title, "text": text, "command": command, "page": page}


def duration(seconds: float) -> str:
    """In the two largest units."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, name, below, lower in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // below
            return f"{whole // size} {name}" + (f" {rest} {lower}" if rest else "")
    return f"{whole} s"


def _age(moment: str) -> str:
    try:
        return duration(max(0.0, time.time() - datetime.fromisoformat(moment).timestamp()))
    except ValueError:
        return "some time"
