"""What cannot become an item is set aside with its place and reason; the rest goes on; repaired, it is played again."""

from __future__ import annotations

import itertools
import json
import threading
from decimal import Decimal
from typing import Any

import pytest

from demo.servers import DynamoServer, MariaDB, SqlServer
from demo.shop import CREATE
from tests.e2e import judge
from tests.e2e.conftest import MakeWork
from tests.e2e.work import Work
from whimbrel import durable
from whimbrel.checkpoint import RunLock
from whimbrel.dynamodb.write import Writer
from whimbrel.migration.dead import DeadLetters
from whimbrel.migration.run import Run

THINGS = """
shape = "record"
partition_key = { name = "id" }
"""
NOTES = """
shape = "group"
partition_key = { name = "customer" }
entry = { name = "${topic}", value = "body" }
"""
KB = 1024
HUGE = "9" * 40  # more digits than DynamoDB's 38


@pytest.fixture
def things(work: Work) -> Work:
    """One row, one item; each fault is in a row of its own."""
    work.mapping, work.table = THINGS, "thing"
    work.write_project()
    work.source.execute(
        "CREATE TABLE thing (id VARCHAR(20) PRIMARY KEY, amount DECIMAL(65,0) NOT NULL, body LONGTEXT NOT NULL)",
        "INSERT INTO thing VALUES ('good', 1, ''), ('better', 2, 'x')",
        *(statement.format(when="first") for statement in BAD_THINGS),
        database=work.database,
    )
    return work


BAD_THINGS = (
    "INSERT INTO thing VALUES ('{when} huge', " + HUGE + ", '')",
    "INSERT INTO thing VALUES ('{when} long', 1, REPEAT('x', 410 * 1024))",
)


def things_of(server: SqlServer, database: str) -> judge.Expected:
    return {
        (name,): {"id": name, "amount": Decimal(amount), "body": body}
        for name, amount, body in server.execute("SELECT id, amount, body FROM thing", database=database)
    }


def good_things(server: SqlServer, database: str) -> judge.Expected:
    every = things_of(server, database)
    return {key: item for key, item in every.items() if key[0] and item["amount"] < 10**38 and len(item["body"]) < KB}


def by_source(letters: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {letter["source_key"]["id"]: letter for letter in letters}


def test_rows_that_cannot_be_mapped_are_set_aside_in_the_load_and_in_the_apply(things: Work) -> None:
    things.source.execute("INSERT INTO thing VALUES ('', 3, '')", database=things.database)
    things.call("migrate", "--until-caught-up", code=4)
    loaded = by_source(things.letters())
    assert set(loaded) == {"", "first huge", "first long"}
    assert {letter["phase"] for letter in loaded.values()} == {"confirmed"}
    assert {letter["table"] for letter in loaded.values()} == {f"{things.database}.thing"}
    assert "empty" in loaded[""]["reason"]
    assert "38 digits" in loaded["first huge"]["reason"]
    assert HUGE in loaded["first huge"]["reason"]
    assert "bytes" in loaded["first long"]["reason"]
    assert loaded["first long"]["item_key"] == {"id": {"S": "first long"}}
    things.assert_equal(good_things, ("id",))
    assert things.verify(equal=False)["counts"] == {"unmappable": 3}

    things.source.execute(
        *(statement.format(when="second") for statement in BAD_THINGS),
        "UPDATE thing SET amount = " + HUGE + " WHERE id = 'good'",  # a good item becomes one that cannot be
        "INSERT INTO thing VALUES ('after', 5, '')",
        database=things.database,
    )
    result = things.call("migrate", "--until-caught-up", code=4)
    assert "dead letters" in result.stderr
    applied = {name: each for name, each in by_source(things.letters()).items() if each["phase"] == "apply"}
    assert set(applied) == {"second huge", "second long", "good"}
    assert applied["good"]["before"] == {"id": "good", "amount": "1", "body": ""}
    assert applied["good"]["after"] == {"id": "good", "amount": HUGE, "body": ""}
    start = things.checkpoint()["start"]
    assert all(each["position"].startswith(start["file"].rpartition(".")[0]) for each in applied.values())
    things.assert_equal(good_things, ("id",))


def test_status_counts_and_names_the_letters(things: Work) -> None:
    things.call("migrate", "--until-caught-up", code=4)
    found = json.loads(things.call("status", "--json", code=4).stdout)
    assert found["dead_letters"] == sum(each["dead_letters"] for each in found["reasons"]) == 2
    assert any("38 digits" in each["reason"] for each in found["reasons"])
    told = things.call("status", code=4).stdout
    assert "2 dead letters" in told
    assert "38 digits" in told
    assert things.call("retry-dead", "--dry-run", code=4).stdout.startswith("2 dead letters")
    assert len(things.letters()) == 2


@pytest.mark.parametrize("applied_first", [False, True], ids=["retry then apply", "apply then retry"])
def test_repaired_in_the_source_they_are_played_again(things: Work, applied_first: bool) -> None:
    things.source.execute("INSERT INTO thing VALUES ('', 3, '')", database=things.database)
    things.call("migrate", "--until-caught-up", code=4)
    done = {"dead_letters": 3, "written": 0, "given_up": []}
    assert json.loads(things.call("retry-dead", "--json", code=4).stdout) == done
    things.source.execute(
        "UPDATE thing SET amount = 7 WHERE id = 'first huge'",
        "UPDATE thing SET body = 'short' WHERE id = 'first long'",
        "UPDATE thing SET id = 'named' WHERE id = ''",
        database=things.database,
    )
    if applied_first:
        things.call("migrate", "--until-caught-up", code=4)
    things.call("retry-dead")
    assert things.letters() == []
    things.call("migrate", "--until-caught-up")
    things.assert_equal(things_of, ("id",))
    things.verify()
    assert json.loads(things.call("status", "--json").stdout)["dead_letters"] == 0


def test_a_letter_is_written_once_however_often_the_run_is_repeated(things: Work) -> None:
    """As after a crash between a letter and the checkpoint that passes it."""
    things.begin()
    things.call("snapshot")
    exported = (things.state / "checkpoint.json").read_bytes()
    things.call("load", code=4)
    things.set_back(exported)
    things.call("load", "--into-existing", code=4)
    assert len(things.letters()) == 2
    things.source.execute(*(statement.format(when="second") for statement in BAD_THINGS), database=things.database)
    things.call("capture", "--until-caught-up", code=4)
    loaded = (things.state / "checkpoint.json").read_bytes()
    things.call("apply", "--until-caught-up", code=4)
    things.set_back(loaded)
    things.call("apply", "--until-caught-up", code=4)
    assert len(things.letters()) == 4


@pytest.mark.parametrize("command", ["retry-dead", "migrate"])
def test_no_letter_is_lost_by_a_crash_between_any_two_steps(
    things: Work, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """Each step is once the one that the process does not live to make, until it is through."""
    things.source.execute("INSERT INTO thing VALUES ('', 3, '')", database=things.database)
    if command == "retry-dead":
        things.call("migrate", "--until-caught-up", code=4)
    else:
        things.begin()
        things.call("snapshot")
        things.call("load", code=4)
    things.source.execute("UPDATE thing SET amount = 7 WHERE id = 'first huge'", database=things.database)
    steps = [(Writer, "write"), (DeadLetters, "settle"), (durable.os, "fsync"), (durable.os, "replace")]  # type: ignore[attr-defined]
    arguments = ("retry-dead",) if command == "retry-dead" else ("migrate", "--until-caught-up")
    crash_at = 0
    while _crashed_at(crash_at, things, monkeypatch, steps, *arguments):
        assert by_source(things.letters()).keys() >= {"", "first long"}
        if "first huge" not in by_source(things.letters()):
            assert ("first huge",) in judge.items(things.endpoint, things.target, "id")
        crash_at += 1
    assert crash_at >= 4
    assert set(by_source(things.letters())) == {"", "first long"}
    assert judge.items(things.endpoint, things.target, "id")["first huge",]["amount"] == 7


class Crash(BaseException):
    """As a SIGKILL: nothing of ours handles it."""


def _crashed_at(
    number: int, work: Work, monkeypatch: pytest.MonkeyPatch, steps: list[tuple[Any, str]], *arguments: str
) -> bool:
    made = itertools.count()
    thread = threading.get_ident()
    with monkeypatch.context() as patched:
        for owner, name in steps:
            real = getattr(owner, name)

            def step(*given: Any, real: Any = real, **named: Any) -> Any:
                if threading.get_ident() == thread and next(made) == number:
                    raise Crash
                return real(*given, **named)

            patched.setattr(owner, name, step)
        try:
            work.call(*arguments, code=4)
        except Crash:
            return True
    return False


def test_the_file_of_letters_is_replaced_only_under_the_run_lock(things: Work) -> None:
    things.call("migrate", "--until-caught-up", code=4)
    before = (things.state / "dead.jsonl").read_bytes()
    with RunLock(things.state):
        assert "is at work here" in things.call("retry-dead", code=3).output
    assert (things.state / "dead.jsonl").read_bytes() == before


def test_letters_that_came_before_the_lock_was_taken_are_retried_too(
    things: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A migrate ends between the first look at the file and the lock."""
    things.call("migrate", "--until-caught-up", code=4)
    enter = Run.__enter__

    def later(run: Run) -> Run:
        letter = things.letters()[0] | {"source_key": {"id": "late"}}
        with (things.state / "dead.jsonl").open("a") as file:
            file.write(json.dumps(letter) + "\n")
        return enter(run)

    things.source.execute("INSERT INTO thing VALUES ('late', 1, '')", database=things.database)
    monkeypatch.setattr(Run, "__enter__", later)
    things.call("retry-dead", code=4)
    assert ("late",) in judge.items(things.endpoint, things.target, "id")
    assert set(by_source(things.letters())) == {"first huge", "first long"}


def test_a_last_line_without_its_end_is_still_a_letter(things: Work) -> None:
    """As an editor leaves it."""
    things.call("migrate", "--until-caught-up", code=4)
    path = things.state / "dead.jsonl"
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    things.source.execute(BAD_THINGS[0].format(when="third"), database=things.database)
    things.call("migrate", "--until-caught-up", code=4)
    assert set(by_source(things.letters())) == {"first huge", "first long", "third huge"}


def test_a_line_torn_by_a_crash_is_no_letter(things: Work) -> None:
    things.call("migrate", "--until-caught-up", code=4)
    with (things.state / "dead.jsonl").open("ab") as file:
        file.write(b'{"time": "20')
    things.source.execute(BAD_THINGS[0].format(when="third"), database=things.database)
    things.call("migrate", "--until-caught-up", code=4)
    assert set(by_source(things.letters())) == {"first huge", "first long", "third huge"}


# -- groups ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def notes(make_work: MakeWork, mariadb: MariaDB, dynalite: DynamoServer) -> Work:
    """All notes of one customer in one item, which outgrows DynamoDB's 400 KB; dynalite holds to that as DynamoDB
    does.
    """
    work = make_work(mariadb, dynalite, mapping=NOTES, table="note")
    work.source.execute(
        "CREATE TABLE note (customer VARCHAR(20), topic VARCHAR(20), body LONGTEXT NOT NULL, "
        "PRIMARY KEY (customer, topic))",
        *(note("first", topic) for topic in range(5)),
        *(note("second", topic) for topic in range(4)),
        note("third", 1, 1),
        database=work.database,
    )
    return work


def note(customer: str, topic: object, kilobytes: int = 90) -> str:
    return f"INSERT INTO note VALUES ('{customer}', 't{topic}', REPEAT('x', {kilobytes * KB}))"


def notes_of(server: SqlServer, database: str) -> judge.Expected:
    items: judge.Expected = {}
    for customer, topic, body in server.execute("SELECT customer, topic, body FROM note", database=database):
        items.setdefault((customer,), {"customer": customer})[topic] = body
    return items


def test_a_group_outgrows_an_item_in_the_load_and_in_the_apply(notes: Work) -> None:
    notes.call("migrate", "--until-caught-up", code=4)
    (letter,) = notes.letters()
    assert letter["item_key"] == {"customer": {"S": "first"}}
    notes.source.execute(note("second", 4), note("third", 2, 1), database=notes.database)
    notes.call("migrate", "--until-caught-up", code=4)
    assert [each["item_key"] for each in notes.letters()] == [
        {"customer": {"S": "first"}},
        {"customer": {"S": "second"}},
    ]
    assert notes.letters()[1]["phase"] == "apply"
    found = judge.items(notes.endpoint, notes.target, "customer")
    assert found["third",] == notes_of(notes.source, notes.database)["third",]
    assert notes.verify(equal=False)["counts"] == {"unmappable": 2}
    notes.source.execute("DELETE FROM note WHERE topic = 't0'", database=notes.database)
    notes.call("retry-dead")
    notes.call("migrate", "--until-caught-up")
    notes.assert_equal(notes_of, ("customer",))
    notes.verify()


def test_a_refused_update_that_also_removed_an_entry_leaves_nothing_stale(notes: Work) -> None:
    """Of the refused operation nothing was written, so the target still has the entry that went; when the rows that
    made the item too large are gone as well, no row is left to tell of it.
    """
    notes.source.execute("DELETE FROM note WHERE customer = 'first'", database=notes.database)
    notes.call("migrate", "--until-caught-up")
    with notes.source.connect(notes.database, autocommit=False) as session, session.cursor() as cursor:
        cursor.execute("DELETE FROM note WHERE customer = 'third'")
        cursor.execute(note("third", "big", 500))
        session.commit()
    notes.call("migrate", "--until-caught-up", code=4)
    notes.source.execute("DELETE FROM note WHERE customer = 'third'", database=notes.database)
    notes.call("migrate", "--until-caught-up", code=4)
    notes.call("retry-dead")
    notes.assert_equal(notes_of, ("customer",))
    notes.verify()


def test_an_entry_named_like_a_key_attribute_is_set_aside(work: Work) -> None:
    work.source.execute(
        CREATE,
        "INSERT INTO purchase VALUES ('c', 'o1', 'customerid', 1), ('c', 'o1', 'p1', 2), ('c', 'o2', 'p1', 3)",
        database=work.database,
    )
    work.call("migrate", "--until-caught-up", code=4)
    work.source.execute("INSERT INTO purchase VALUES ('c', 'o2', 'orderid', 4)", database=work.database)
    work.call("migrate", "--until-caught-up", code=4)
    assert [letter["source_key"]["productid"] for letter in work.letters()] == ["customerid", "orderid"]
    assert all("name" in letter["reason"] for letter in work.letters())
    work.source.execute("UPDATE purchase SET productid = CONCAT('p-', productid)", database=work.database)
    work.call("migrate", "--until-caught-up", code=4)
    work.call("retry-dead")
    work.assert_equal()
    work.verify()
