"""Numbers and names that the pages have in their sentences, compared with the code: whoever changes the one is told of
the other. Tables that are made from the code, and figures that were measured, have tests of their own.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.docs.blocks import ROOT
from tests.schemas.packages import SCRIPTS
from whimbrel.changelog.files import ChangeLogWriter
from whimbrel.checks import cost, engines, following, scan
from whimbrel.checks.reserved import reserved_words
from whimbrel.cli import shown
from whimbrel.cli.main import main
from whimbrel.dynamodb.calls import UNEXPECTED_TRIES
from whimbrel.handover import means, reverse
from whimbrel.lake import export, fold, known_types, lines, types
from whimbrel.mapping import family, rules
from whimbrel.migration import (
    differences,
    dirty,
    first_look,
    foreign,
    late,
    load,
    mark,
    past_fence,
    progress,
    watch,
)
from whimbrel.migration.state import StateFolder
from whimbrel.mysql import barrier, client, locked, login, pace
from whimbrel.prediction.model import drift, unknown
from whimbrel.prediction.serve import access, endpoint, http, incoming, openinference
from whimbrel.prediction.train import feature_columns
from whimbrel.proposal import search

WORDS = {2: "two", 3: "three", 6: "six", 8: "eight", 10: "ten", 12: "twelve"}
SEGMENT = inspect.signature(ChangeLogWriter).parameters["segment_bytes"].default
STATED = [
    ("check.md", f"{engines.LOAD_US['record']} µs for a core to map and write a row (`record`), or"),
    ("check.md", f"or {engines.LOAD_US['group']} (`group`), and {engines.APPLY_US['record']:g} or"),
    ("check.md", f"or {engines.APPLY_US['group']:g} µs to apply a change"),
    ("check.md", f"{engines.MOST_WORKERS} worker processes"),
    ("check.md", f"a table with up to {scan.SCANNED_ANYWAY:,} rows"),
    ("check.md", f"that holds for up to {scan.SCANNED:,} rows"),
    ("check.md", f"Its {len(reserved_words())} reserved words"),
    ("check.md", f"the {cost.NEW_TABLE_RATE:,.0f} units a second that a new on-demand table takes"),
    ("check.md", f"counts {cost.ITEM_OVERHEAD} bytes more for each item"),
    ("check.md", f"So up to {following.SAMPLED} of the recent writes"),
    ("cutover.md", f"never waits for longer than {barrier.LIMIT * 1000:.0f} ms at a time"),
    ("cutover.md", f"every second for {WORDS[int(means.UNDO_PATIENCE / 60)]} minutes"),
    ("cutover.md", f"for up to {foreign.READ_SECONDS:.0f} seconds, for writes"),
    ("cutover.md", f"{past_fence.MOST:,} changes are named, and {past_fence.MOST_AT_ONCE:,} of one transaction"),
    ("cutover.md", f"Every {past_fence.FENCE_EVERY:.0f} seconds the fence itself"),
    ("cutover.md", f"for {late.KEPT / 3600:.0f} hours more"),
    ("cutover.md", f"Beyond {reverse.ALARM / 3600:.0f} hours of lag"),
    ("design.md", f"at most {search.MOST_STEPS:,} steps"),
    ("design.md", f"there are {WORDS[search.ROUNDS]} rounds at most"),
    ("formats.md", f"segments of {SEGMENT >> 20} MB"),
    ("getting-started.md", f"first {shown.LISTED} on the screen, {differences.LISTED:,} with `--json`"),
    ("lake.md", f"the {export._ON_DEMAND_UNITS:,.0f} of a new one"),
    ("lake.md", f"More than {fold.MOST_DELTAS} such files"),
    ("mappings.md", f"{family.MAX_LOCAL} local and {family.MAX_GLOBAL} global indexes"),
    ("mappings.md", f"{rules.MAX_PROJECTED} attributes in one `projection`, {family.MAX_PROJECTED_IN_ALL} in all"),
    ("mysql.md", f"at most {locked.LIMIT * 1000:.0f} ms at a time"),
    ("errors.md", f"{WORDS[UNEXPECTED_TRIES]} times in a row"),
    ("operations.md", f"holds it for {locked.LIMIT * 1000:.0f} ms at most"),
    ("operations.md", f"tries up to {WORDS[len(locked.PAUSES) + 1]} times"),
    ("operations.md", f"from {first_look.ROWS_FOR_A_WORKER:,} rows on"),
    ("operations.md", f"more than {WORDS[int(load.SECONDS_FOR_WORKERS)]} seconds of CPU time"),
    ("operations.md", f"below {2 * load.UNITS_OF_A_WORKER:,} units a second"),
    ("operations.md", f"looks every {WORDS[int(mark.SURE_SECONDS)]} seconds"),
    ("operations.md", f"the others have {dirty.MOST_BYTES >> 20} MB at most"),
    ("operations.md", f"asks the source every {WORDS[int(watch.ASK_SECONDS)]} seconds"),
    ("operations.md", f"within the last {WORDS[int(progress.ASKED_LATELY)]} seconds"),
    ("benchmarks.md", f"used from {first_look.ROWS_FOR_A_WORKER:,} rows on"),
    ("lake.md", f"may have {lines.MAX_LINE >> 20} MB of JSON"),
    ("lake.md", f"at most {known_types.MOST_ATTRIBUTES:,} attributes"),
    ("lake.md", f"more than {types.MOST_FIELDS} names"),
    ("predict.md", f"up to {feature_columns.BINS} quantile bins"),
    ("predict.md", f"With fewer than {drift.LEAST_ROWS} rows much of it is chance"),
    ("predict.md", f"At most {feature_columns.MOST_CATEGORIES} categories"),
    ("predict.md", f"fewer than {WORDS[feature_columns.LEAST_SEEN]} rows"),
    ("rds-aurora.md", f"at most {locked.LIMIT * 1000:.0f} ms at a time"),
    ("security.md", f"may take {login.SECONDS:.0f} seconds and {client.LARGEST_GREETING >> 10} KiB"),
    ("security.md", f"may have {client.LARGEST_ANSWER >> 30} GiB and {client.MOST_COLUMNS:,} columns"),
    ("serve.md", f"at least {access.SHORTEST} characters"),
    ("serve.md", f"keeps up to {feature_columns.MOST_RARE:,} such names per column"),
    ("serve.md", f"up to {unknown.MOST_HEADER:,} bytes"),
    ("serve.md", f"the last {endpoint.RECENT} calls"),
    ("serve.md", f"may have {incoming.MOST_HEAD >> 10} KiB and {incoming.MOST_HEADERS} lines together"),
    ("serve.md", f"At most {http.MOST_CONNECTIONS:,} connections"),
    ("serve.md", f"{http.CONNECTION >> 10} KiB per connection"),
    ("serve.md", f"may have {openinference.MOST_ROWS:,} rows"),
    ("../README.md", f"tables of {len(SCRIPTS)} applications from Debian's packages"),
    ("index.md", f"schemas of {len(SCRIPTS)} applications from Debian's packages"),
]


@pytest.mark.parametrize(("page", "text"), STATED, ids=lambda value: value.replace(" ", "-"))
def test_a_page_has_the_number_of_the_code(page: str, text: str) -> None:
    assert text in " ".join((ROOT / "docs" / page).read_text().split()), "change the page, and this test if need be"


def test_a_cap_makes_chunks_of_a_quarter_of_a_second() -> None:
    assert pace.CHUNK_SECONDS == 0.25
    assert "than the cap allows in a quarter of a second" in " ".join(
        (ROOT / "docs" / "operations.md").read_text().split()
    )


def test_there_are_as_many_cases_as_the_pages_say() -> None:
    assert len([path for path in (ROOT / "tests" / "cases").iterdir() if (path / "schema.sql").exists()]) > 100


def test_the_table_of_the_state_folder_has_every_file() -> None:
    """Those that the folder's own class names, and those that modules name: ``reverse-dead.jsonl`` for one."""
    page = (ROOT / "docs" / "operations.md").read_text().partition("## The state folder")[2].partition("\n## ")[0]
    named = {path.name for path in vars(StateFolder(Path("state"))).values() if isinstance(path, Path)} - {"state"}
    code = "".join(
        path.read_text() for part in ("migration", "handover") for path in (ROOT / "src/whimbrel" / part).glob("*.py")
    )
    named |= set(re.findall(r'"([a-z]+(?:-[a-z]+)*\.jsonl)"', code)) - {"plan.jsonl"}
    assert len(named) > 20
    assert not [name for name in named if f"`{name}" not in page]


def test_the_example_of_an_error_is_what_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("whimbrel.toml").write_text(
        '[source]\nurl = "mysql://whimbrel@db.example.com/shop"\n[[table]]\nsource = "purchase"\ntarget = "purchase"\n'
        'partition_key = { name = "id" }\npartition_kye = { name = "id" }\n'
    )
    [example] = re.findall(r"```\n(error\[.*?)```", (ROOT / "docs" / "errors.md").read_text(), re.DOTALL)
    said = CliRunner().invoke(main, ["check"])
    assert [line.rstrip() for line in said.output.splitlines()] == example.splitlines()
