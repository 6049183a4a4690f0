"""The file of dead letters: each once, replaced in one step, and read without being in memory as a whole."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from whimbrel.durable import after_last_newline
from whimbrel.errors import StateError
from whimbrel.migration.dead import DeadLetters, Replacement, identity_of, read_letters
from whimbrel.migration.digest_set import DigestSet
from whimbrel.migration.retry import together
from whimbrel.migration.status import MOST_REASONS, OTHERS, counted
from whimbrel.migration.waivers import LISTED, Waivers, named, note_waived, read_waived, read_waivers
from whimbrel.records import Fault

MANY, LONG = 4_000, 10_000  # letters, and bytes of each: 40 MB
BYTES = 3_000  # of letters that wait for others
BEARABLE = 8 << 20  # a tenth of that would do; a portion of letters is made durable together


def letter(number: int, **values: Any) -> dict[str, Any]:
    key = {"pk": {"S": f"row#{number}"}}
    plain = {"time": "now", "phase": "load", "table": "shop.t", "reason": "r", "source_key": {"id": number}}
    return {**plain, "item_key": key, "position": None, "before": None, "after": None, **values}


def fault(number: int) -> Fault:
    return Fault("shop.t", "r", {"id": number}, {"pk": {"S": f"row#{number}"}}, None)


def ids(path: Path) -> list[int]:
    return [each["source_key"]["id"] for each in read_letters(path)]


def test_a_replacement_takes_the_place_of_the_letters_that_are_gone(tmp_path: Path) -> None:
    letters = DeadLetters(tmp_path / "dead.jsonl")
    assert letters.add(map(fault, (1, 2, 3, 2)), "load") == 3
    with Replacement(letters) as fresh:
        fresh.add([fault(4), fault(3)], "retry")
        assert ids(tmp_path / "dead.jsonl") == [1, 2, 3]
        fresh.publish(lambda each: each["source_key"]["id"] == 1)
    assert ids(tmp_path / "dead.jsonl") == [4, 3, 2]
    assert (len(letters), letters.of("load"), letters.of("retry")) == (3, True, True)
    assert len(DeadLetters(tmp_path / "dead.jsonl")) == 3


def test_without_its_end_a_replacement_leaves_all_as_it_was(tmp_path: Path) -> None:
    letters = DeadLetters(tmp_path / "dead.jsonl")
    letters.add([fault(1)], "load")

    def broken_off() -> None:
        with Replacement(letters) as fresh:
            fresh.add([fault(2)], "retry")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken_off()
    assert ids(tmp_path / "dead.jsonl") == [1]
    assert [each.name for each in tmp_path.iterdir()] == ["dead.jsonl"]
    assert letters.add([fault(2)], "load") == 1


def test_a_line_that_is_no_letter_is_named(tmp_path: Path) -> None:
    DeadLetters(tmp_path / "dead.jsonl").add([fault(1)], "load")
    with (tmp_path / "dead.jsonl").open("ab") as file:
        file.write(b'{"phase": 1}\n')
    with pytest.raises(StateError, match="line 2 is not a dead-letter record"):
        list(read_letters(tmp_path / "dead.jsonl"))


@given(st.lists(st.binary(min_size=16, max_size=16) | st.sampled_from([bytes(16), b"\1" * 16, b"ab" * 8]), max_size=60))
def test_a_set_of_digests_has_what_was_added(digests: list[bytes]) -> None:
    ours, theirs = DigestSet(), set[bytes]()
    for each in digests:
        assert ours.add(each) is (each not in theirs)
        theirs.add(each)
        rest = (each + each)[1:17]  # what lies across two of them
        assert (rest in ours) is (rest in theirs)
    assert len(ours) == len(theirs)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([10, BYTES // 3]))), st.integers(1, 5))
@example([*[("a", 10)] * 3, *[("b", BYTES // 3)] * 2, ("a", BYTES // 3), ("a", 10)], 4)  # both limits at once
def test_letters_go_by_table_each_once_and_not_too_many_at_once(made: list[tuple[str, int]], most: int) -> None:
    letters = [letter(number, table=table, reason="r" * length) for number, (table, length) in enumerate(made)]
    found, waiting = list[dict[str, Any]](), Counter[str]()
    for table, some in together(letters, dict.fromkeys("abc", most), BYTES):
        assert some
        assert {each["table"] for each in some} == {table}
        assert len(some) <= most
        assert sum(len(each["reason"]) for each in some) <= BYTES + BYTES // 3
        assert [each["source_key"]["id"] for each in some] == sorted(each["source_key"]["id"] for each in some)
        waiting[table] += len(some)
        found += some
    assert sorted(found, key=lambda each: each["source_key"]["id"]) == letters


def test_as_many_letters_as_rows_are_not_in_memory(tmp_path: Path) -> None:
    path, root = tmp_path / "dead.jsonl", tmp_path
    after = {"id": 1, "text": "x" * LONG}
    tracemalloc.start()
    try:
        letters = DeadLetters(path)
        letters.take(letter(number, after=after, reason=f"r{number}") for number in range(MANY))
        again = DeadLetters(path)
        again.settle(lambda each: each["source_key"]["id"] == 0, [], "retry")
        waivers = read_waivers(path)
        assert named(waivers.left(read_letters(path))).letters == 0
        assert str(named(waivers.of(read_letters(path)))).endswith(f" and {MANY - 4:,} more")
        note_waived(root, waivers.of(read_letters(path)))
        assert len(read_waived(root)) == min(MANY - 1, LISTED)
        count, reasons = counted(read_letters(path))
        assert (count, len(reasons), reasons[0][0]) == (MANY - 1, MOST_REASONS + 1, OTHERS)
        assert after_last_newline(path) == b""
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert path.stat().st_size > MANY * LONG / 1.1
    assert peak < 2 * BEARABLE + LONG * 40


def test_a_waiver_names_letters_by_their_digests() -> None:
    waivers = Waivers([letter(1)])
    assert waivers.has_item(["shop.t"], {"pk": {"S": "row#1"}})
    assert not waivers.has_item(["shop.t"], {"pk": {"S": "row#2"}})
    assert identity_of(letter(1)) != identity_of(letter(2))
    assert not list(Waivers().of([letter(1)]))
