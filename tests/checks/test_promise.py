"""What check promises, migrate keeps: over random schemas, data and mappings, and AWS DMS files, on real servers.

No error: migrate takes the project, makes no dead letter of this data, and verify finds no difference. An error:
migrate refuses, or makes dead letters, or verify finds the difference. WHIMBREL_PROMISES=n for a long run by hand.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, event, given, note, settings

from demo.servers import Ministack, SqlServer
from tests.checks.case import Case
from tests.checks.random_projects import COLUMNS, dms_files, projects
from tests.conftest import unique
from whimbrel.dms.toml import value

CAMPAIGN = int(os.environ.get("WHIMBREL_PROMISES", "30"))


class Promises:
    """Made and kept on these servers."""

    def __init__(self, server: SqlServer, endpoint: Ministack, folder: Path) -> None:
        self._server, self._endpoint, self._folder = server, endpoint, folder
        self.made: Counter[str] = Counter()  # "taken" or "refused"

    def of_project(self, there: list[dict[str, Any]], rules: list[dict[str, Any]]) -> None:
        case = self._case(there)
        targets = [f"{case.target}-{rule.get('target', rule['source'])}" for rule in rules]
        written = [section(rule | {"target": name}) for rule, name in zip(rules, targets, strict=True)]
        note("\n".join(written))
        (case.folder / "whimbrel.toml").write_text(_head(case) + "\n".join(written))
        self._kept(case)

    def of_dms_file(self, table: dict[str, Any], rules: list[dict[str, Any]]) -> None:
        case = self._case([table])
        text = json.dumps({"rules": rules}, indent=1).replace("DATABASE", case.database).replace("TARGET", case.target)
        note(text)
        (case.folder / "rules.json").write_text(text)
        (case.folder / "whimbrel.toml").write_text(_head(case))
        self._kept(case, "--dms", str(case.folder / "rules.json"))

    def _case(self, there: list[dict[str, Any]]) -> Case:
        note(str(there))
        target = unique("promise")
        path = self._folder / target
        path.mkdir()
        case = Case(path, self._server, self._server.new_database(), self._endpoint, target)
        for table in there:
            columns = ", ".join(f"`{each}` {COLUMNS[each][0]}" for each in table["columns"])
            case.execute(f"CREATE TABLE {table['name']} ({columns}, PRIMARY KEY ({', '.join(table['key'])}))")
            for row in table["rows"]:
                case.execute(f"INSERT IGNORE INTO {table['name']} VALUES ({', '.join(row)})")
        case.project("")
        return case

    def _kept(self, case: Case, *options: str) -> None:
        checked = case.call("check", "--json", *options)
        findings = json.loads(checked.stdout).get("findings", []) if checked.stdout else []  # none: an error before any
        errors = [each for each in findings if each["severity"] == "error"]
        moved = case.call("migrate", "--until-caught-up", *options)
        verified = case.call("verify", *options) if moved.exit_code in (0, 4) else moved
        note(f"check {checked.exit_code}: {errors} {checked.stderr}")
        note(f"migrate {moved.exit_code}: {moved.output}\nverify: {verified.output}")
        codes = sorted({each["code"] for each in errors})
        event(f"check {checked.exit_code}, migrate {moved.exit_code}, verify {verified.exit_code}: {codes}")
        self.made["taken" if checked.exit_code == 0 else "refused"] += 1
        if checked.exit_code == 0:
            assert moved.exit_code == 0, moved.output
            assert verified.exit_code == 0, verified.output
        else:
            assert (moved.exit_code, verified.exit_code) != (0, 0), errors

    def check_share(self) -> None:
        """Most must be taken, or little is promised."""
        assert self.made["refused"] <= self.made.total() / 4, self.made


def _head(case: Case) -> str:
    return (case.folder / "whimbrel.toml").read_text().partition("[[table]]")[0]


def section(rule: dict[str, Any]) -> str:
    lines = [
        "[[table]]",
        *(f"{name} = {value(each)}" for name, each in rule.items() if each not in ({}, []) and name != "index"),
    ]
    for index in rule.get("index", ()):
        lines += ["[[table.index]]", *(f"{name} = {value(each)}" for name, each in index.items())]
    return "\n".join(lines) + "\n"


def over(examples: int) -> settings:
    phases = (Phase.explicit, Phase.generate)
    return settings(max_examples=examples, deadline=None, phases=phases, suppress_health_check=list(HealthCheck))


def try_projects(promises: Promises, examples: int) -> None:
    @over(examples)
    @given(projects)
    def each(found: Any) -> None:
        promises.of_project(*found)

    each()


def try_dms_files(promises: Promises, examples: int) -> None:
    @over(examples)
    @given(dms_files())
    def each(found: Any) -> None:
        promises.of_dms_file(*found)

    each()


@pytest.fixture
def promises(source_server: SqlServer, ministack: Ministack, tmp_path: Path) -> Promises:
    return Promises(source_server, ministack, tmp_path)


def test_what_check_promises_migrate_keeps(promises: Promises) -> None:
    try_projects(promises, 3)


def test_what_check_promises_of_a_dms_file_migrate_keeps(promises: Promises) -> None:
    try_dms_files(promises, 2)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_what_check_promises_migrate_keeps_often(promises: Promises) -> None:
    try_projects(promises, CAMPAIGN)
    promises.check_share()


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_what_check_promises_of_a_dms_file_migrate_keeps_often(promises: Promises) -> None:
    try_dms_files(promises, CAMPAIGN)
    promises.check_share()
