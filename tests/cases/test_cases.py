"""Each folder beside this file is a case: see README.md. WHIMBREL_CASES=name,name runs only these."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from demo.servers import Kinesalite, MariaDB, Ministack, MySQL, SqlServer
from tests.cases.case import Case, Items, all_cases
from tests.cases.ways import Way
from tests.function.served import Served
from whimbrel.project import Stream


def test_cases_on_mariadb(mariadb: MariaDB, ministack: Ministack, tmp_path: Path, subtests: pytest.Subtests) -> None:
    try_all(mariadb, ministack, tmp_path, subtests)


@pytest.mark.slow
def test_cases_on_mysql(mysql: MySQL, ministack: Ministack, tmp_path: Path, subtests: pytest.Subtests) -> None:
    try_all(mysql, ministack, tmp_path, subtests)


@pytest.mark.slow
def test_cases_on_a_later_mariadb(request: pytest.FixtureRequest, tmp_path: Path, subtests: pytest.Subtests) -> None:
    server, endpoint = request.getfixturevalue("mariadb-11.8"), request.getfixturevalue("ministack")
    # Its binlog lacks generated columns, and so they are refused: tests/checks/test_source.py.
    try_all(server, endpoint, tmp_path, subtests, without="generated-and-invisible-columns")


@pytest.mark.slow
def test_cases_through_a_stream(
    mariadb: MariaDB, ministack: Ministack, kinesalite: Kinesalite, tmp_path: Path, subtests: pytest.Subtests
) -> None:
    with ExitStack() as stack:
        streams = [stack.enter_context(Served(kinesalite, ministack)) for _ in range(3)]
        try_all(
            mariadb, ministack, tmp_path, subtests, streams=[Stream(each.name, "packed", each.at) for each in streams]
        )


def try_all(
    server: SqlServer,
    endpoint: Ministack,
    folder: Path,
    subtests: pytest.Subtests,
    *,
    without: str = "",
    streams: Sequence[Stream | None] = (None, None, None),
) -> None:
    """One server and one target for all cases: what costs time is paid once."""
    wanted = os.environ.get("WHIMBREL_CASES", "")
    cases = [case for case in all_cases(server.flavor, wanted) if case.name != without]
    if any(streams):
        cases = [case for case in cases if not case.looks_up]  # refused by name
    ways = migrated(cases, server, endpoint, folder, iter(streams))
    for case in cases:
        with subtests.test(case.name):
            for way in ways:
                check(case, way, server.flavor)
    with subtests.test("verify finds the same"):
        unequal = {
            report.source.partition(".")[0]: report.to_dict() for report in ways[-1].verify() if not report.equal
        }
        assert unequal.keys() == {case.name for case in cases if case.dead()}, unequal


def migrated(
    cases: list[Case], server: SqlServer, endpoint: Ministack, folder: Path, streams: Iterator[Stream | None]
) -> list[Way]:
    def run(step: str) -> None:
        for case in cases:
            case.run(server, step)

    def way(letter: str) -> Way:
        made = Way(letter, cases, server, endpoint, folder / letter, next(streams))
        made.migrate()
        return made

    server.execute(*(f"DROP DATABASE IF EXISTS `{case.name}`" for case in cases))
    server.execute(*(f"CREATE DATABASE `{case.name}`" for case in cases))
    run("schema")
    by_log = way("B")
    run("data")
    by_both = way("C")
    run("changes")
    by_snapshot = way("A")
    by_log.migrate()
    by_both.migrate()
    return [by_snapshot, by_log, by_both]


def check(case: Case, way: Way, flavor: str) -> None:
    expected, found = case.expected(flavor), way.items(case)
    assert found == expected, f"{case.name}, way {way.letter}:\n" + differences(expected, found)
    reasons, known = way.dead(case), case.dead()
    strange = [reason for reason in reasons if not any(part in reason for part in known)]
    assert not strange, f"{case.name}, way {way.letter}: dead letters that dead.json does not have: {strange}"
    if way.letter != "C":
        missing = [part for part in known if not any(part in reason for reason in reasons)]
        assert not missing, f"{case.name}, way {way.letter}: no dead letter says {missing}"


def differences(expected: dict[str, Items], found: dict[str, Items]) -> str:
    lines = []
    for target in sorted(expected.keys() | found.keys()):
        wanted, got = expected.get(target, []), found.get(target, [])
        lines += [f"{target}: missing {json.dumps(item, ensure_ascii=False)}" for item in wanted if item not in got]
        lines += [f"{target}: unexpected {json.dumps(item, ensure_ascii=False)}" for item in got if item not in wanted]
    return "\n".join(lines)
