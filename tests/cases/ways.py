"""Three ways of the same rows to the target, each a migration of all cases at once:

A   schema, data and changes, then the snapshot reads what there is
B   schema, then the start; data and changes come through the binlog alone, into an empty target
C   schema and data, then the start and the snapshot; the changes come through the binlog: as in real life
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from demo.servers import DynamoServer, SqlServer
from tests.cases.case import Case, Items, in_order
from whimbrel.migration.dead import read_letters
from whimbrel.migration.differences import TableReport
from whimbrel.migration.follow import Follower, follow
from whimbrel.migration.imports import load_engine
from whimbrel.migration.positions import drained, source_end
from whimbrel.migration.prepare import prepare
from whimbrel.migration.progress import Progress
from whimbrel.migration.run import Run
from whimbrel.migration.verify import verify_all
from whimbrel.project import Project, Stream, TableRule


class Way:
    """One migration of all ``cases``. The rules are read when it is made: the tables must be there."""

    def __init__(
        self,
        letter: str,
        cases: Sequence[Case],
        server: SqlServer,
        endpoint: DynamoServer,
        folder: Path,
        stream: Stream | None = None,
        **engine: Any,
    ) -> None:
        """``engine``: more of the project, that says what loads."""
        folder.mkdir()
        self.letter = letter
        self._place = f"{letter}.{server.name}.stream" if stream else f"{letter}.{server.name}"
        self._endpoint = endpoint
        source = server.source("", tls="off", connections=1, chunk_rows=3)
        self._rules = {case.name: self._renamed(case, case.rules(source, folder)) for case in cases}
        rules = tuple(rule for rules in self._rules.values() for rule in rules)
        target = endpoint.target(concurrency=2)
        places = folder / "whimbrel.toml", folder / ".whimbrel"
        self._project = Project(*places, source, target, rules, stream=stream, **engine)

    def migrate(self) -> None:
        """As ``whimbrel migrate --until-caught-up``: begin, or go on, to where the source is now."""

        def work(run: Run) -> None:
            run.fix_start()
            run.start_capture()
            run.snapshot()
            load_engine(run)
            follow(run, drained(run, source_end(run)))

        self._running(work)

    def verify(self) -> list[TableReport]:
        """What ``whimbrel verify`` finds."""
        reports: list[TableReport] = []

        def work(run: Run) -> None:
            run.start_capture()
            with Follower(run):
                progress = run.progress
                reports.extend(
                    verify_all(run.prepared, run.wire, lambda: progress.applied_position, run.stop, progress)
                )

        self._running(work)
        return reports

    def items(self, case: Case) -> dict[str, Items]:
        """What the case's targets hold, by the names that its mapping has for them."""
        targets = dict.fromkeys(rule.target for rule in self._rules[case.name])
        return {target.removeprefix(self._prefix(case)): in_order(self._scan(target)) for target in targets}

    def dead(self, case: Case) -> list[str]:
        """The reasons of the case's dead letters."""
        letters = read_letters(self._project.state / "dead.jsonl")
        return [letter["reason"] for letter in letters if letter["table"].startswith(f"{case.name}.")]

    def _running(self, work: Callable[[Run], None]) -> None:
        with Run(prepare(self._project), threading.Event(), Progress()) as run:
            work(run)
        run.check_capture()

    def _scan(self, target: str) -> list[Any]:
        pages = self._endpoint.client().get_paginator("scan").paginate(TableName=target, ConsistentRead=True)
        return [item for page in pages for item in page["Items"]]

    def _renamed(self, case: Case, rules: Sequence[TableRule]) -> list[TableRule]:
        return [replace(rule, target=self._prefix(case) + rule.target) for rule in rules]

    def _prefix(self, case: Case) -> str:
        return f"{self._place}.{case.name}."
