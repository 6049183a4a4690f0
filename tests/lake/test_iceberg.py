"""Published data sets as snapshots of an Iceberg table: what others read is what our own SQL gives."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.expressions import EqualTo

from tests.lake.helper import change, full, items, values, write_export
from tests.lake.iceberg_judge import Judged, in_sqlite
from tests.lake.machines import Machine
from whimbrel.lake import datasets, fold, iceberg, iceberg_entries
from whimbrel.lake.iceberg_catalog import FileCatalog
from whimbrel.lake.iceberg_files import LakePlace, open_catalog
from whimbrel.project import load_project

TABLE = "shop"
DAY = "2026-01-{:02d}T00:00:00.000Z"
# A program that ends itself by SIGKILL at the step whose number STEPS says: before or after what a table is made of.
KILLED = """
import os, signal
from whimbrel.__main__ import run
from whimbrel.lake import datasets
from whimbrel.lake.iceberg_catalog import FileCatalog
from whimbrel.lake.iceberg_files import LakePlace
left = int(os.environ["STEPS"])
def counting(owner, name):
    real = getattr(owner, name)
    def call(*arguments, **named):
        count()
        result = real(*arguments, **named)
        count()
        return result
    setattr(owner, name, call)
def count():
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
for owner, name in (
    (LakePlace, "write"), (LakePlace, "remove"), (FileCatalog, "commit_table"), (FileCatalog, "create_table"),
    (FileCatalog, "drop_table"), (datasets, "point_to"), (datasets, "retain"),
):
    counting(owner, name)
run()
"""


class Exports:
    """A project whose lake has exports that the test writes, a day apart."""

    def __init__(self, folder: Path, lake: str = "keep = 3\n", dataset: str = "") -> None:
        self.machine, self.lake = Machine(folder), folder / "lake"
        self.machine.project.write_text(
            f'[target]\nendpoint = "http://127.0.0.1:1"\n[lake]\n{lake}'
            f'[[dataset]]\ntable = "{TABLE}"\nkey = ["pk"]\npublish = "iceberg"\n{dataset}'
        )
        self.days = 0

    def add(self, lines: list[Any], *, whole: bool = False) -> None:
        self.days += 1
        since = "" if whole else DAY.format(self.days - 1)
        root, name = self.lake / "exports" / TABLE, f"{self.days:014d}-{self.days:08x}"
        arn = f"arn:aws:dynamodb:us-east-1:111122223333:table/{TABLE}"
        write_export(root, name, DAY.format(self.days), lines, since, arn=arn)

    def convert(self, *arguments: str, code: int = 0) -> str:
        return self.machine.run("convert", TABLE, *arguments, code=code)

    def killed(self, steps: int) -> bool:
        command = [sys.executable, "-c", KILLED, "convert", "-p", str(self.machine.project), TABLE]
        done = subprocess.run(command, env={**os.environ, "STEPS": str(steps)}, capture_output=True, timeout=120)
        assert done.returncode in (0, -signal.SIGKILL), done.stderr.decode()
        return done.returncode != 0

    def without_publishing(self) -> None:
        self._replace('publish = "iceberg"\n', "")

    def publishing(self) -> None:
        self._replace('key = ["pk"]\n', 'key = ["pk"]\npublish = "iceberg"\n')

    def _replace(self, old: str, new: str) -> None:
        text = self.machine.project.read_text()
        assert old in text
        self.machine.project.write_text(text.replace(old, new, 1))

    def judged(self) -> Judged:
        return in_sqlite(self.lake, TABLE)

    def ours(self) -> dict[str, list[dict[str, Any]]]:
        """The rows of each data set, by its id."""
        found = datasets.versions(self.lake, TABLE)
        return {each.id: by_key(datasets.arrow(self.lake, each).to_pylist()) for each in found}

    def agree(self) -> None:
        """What others see is what we see, of every data set that is kept; and nothing of Iceberg's is left over."""
        judged = self.judged()
        assert judged.by_data_set() == self.ours()
        assert judged.current() == datasets.current(self.lake, TABLE).id

    @contextmanager
    def table(self) -> Iterator[Any]:
        with open_catalog(load_project(self.machine.project), LakePlace(self.lake, None)) as catalog:
            yield catalog.load_table(("whimbrel", TABLE))


def by_key(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: row["pk"])


def item(pk: int, **more: Any) -> dict[str, Any]:
    return {"pk": {"S": f"{pk:03}"}, "n": {"N": str(pk)}, **more}


def written(pk: int, **new: Any) -> dict[str, Any]:
    return change({"pk": {"S": f"{pk:03}"}}, new)


def deleted(pk: int) -> dict[str, Any]:
    return change({"pk": {"S": f"{pk:03}"}}, None)


@pytest.fixture
def exports(tmp_path: Path) -> Exports:
    return Exports(tmp_path)


def test_each_data_set_is_a_snapshot_with_the_same_rows(exports: Exports) -> None:
    nested = {"m": {"M": {"a": {"N": "1.5"}}}, "l": {"L": [{"S": "x"}]}}
    exports.add([full(**item(pk, **nested)) for pk in range(9)], whole=True)
    exports.convert()
    exports.add([written(3, n={"N": "33"}), deleted(4)])
    assert "of the Iceberg table whimbrel.shop" in exports.convert()
    exports.add([written(100, n={"N": "1"}, m={"M": {"b": {"BOOL": True}}}, new={"B": "AA=="})])
    said = json.loads(exports.convert("--json"))
    assert (said["iceberg"]["added"], said["iceberg"]["began_again"]) == (1, False)
    exports.agree()
    assert len(exports.ours()) == 3
    as_json = {name: orjson.loads(orjson.dumps(rows, default=as_json_has_it)) for name, rows in exports.ours().items()}
    assert exports.judged().by_duckdb() == as_json
    assert json.loads(exports.convert("--json"))["iceberg"]["added"] == 0, "nothing is new"


def as_json_has_it(value: Any) -> Any:
    return "\\x00" if isinstance(value, bytes) else float(value)


def test_several_exports_at_once_are_a_snapshot_each(exports: Exports) -> None:
    exports.add([full(**item(pk)) for pk in range(9)], whole=True)
    exports.add([deleted(1)])
    exports.add([deleted(2)])
    exports.convert()
    exports.agree()
    assert len(exports.ours()) == 3


def test_an_old_snapshot_goes_with_its_data_set(exports: Exports) -> None:
    exports.add([full(**item(pk)) for pk in range(9)], whole=True)
    for pk in range(4):
        exports.convert()
        exports.add([deleted(pk)])
    exports.convert()
    exports.agree()
    assert len(exports.ours()) == 3
    own = {path.name for path in (exports.lake / "datasets" / TABLE / "metadata").iterdir()}
    with exports.table() as table:
        assert own == {each.rpartition("/")[2] for each in iceberg._files_of(table)}


def test_files_are_registered_and_not_copied(exports: Exports, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change is one more file, and one that says which rows are deleted."""
    monkeypatch.setattr("whimbrel.lake.parquet_parts.FEWEST_BYTES", 1)
    exports.add([full(**item(pk)) for pk in range(40)], whole=True)
    exports.convert()
    exports.add([deleted(1), written(30, n={"N": "7"})])
    exports.convert()
    first, second = exports.judged().metadata["snapshots"]
    files = [{path for path, _ in exports.judged().files(each)} for each in (first, second)]
    assert len(files[0]) == 2
    assert files[0] < files[1]
    assert {f"file://{path}" for path in (exports.lake / "datasets").rglob("[0-9]*/*.parquet")} == files[1]
    deleted_rows = [exports.judged().deleted(each) for each in (first, second)]
    assert deleted_rows[0] == set()
    assert len(deleted_rows[1]) == 3, "the two rows as they were, and the deletion's own line"
    assert len(list((exports.lake / "datasets" / TABLE / "metadata").glob("*.parquet"))) == 1


def test_small_files_are_joined(exports: Exports, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fold, "MOST_SMALL", 1)
    monkeypatch.setattr(fold, "FOLD_SHARE", 0.0)
    exports.add([full(**item(pk)) for pk in range(40)], whole=True)
    for pk in range(100, 103):
        exports.convert()
        exports.add([written(pk, n={"N": "1"})])
    exports.convert()
    exports.agree()
    assert max(len(each.files) for each in datasets.versions(exports.lake, TABLE)) <= 3


def test_columns_of_other_types_begin_the_table_again(exports: Exports) -> None:
    exports.add([full(**item(pk)) for pk in range(9)], whole=True)
    exports.convert()
    exports.add([full(**item(pk) | {"n": {"N": "0.5"}}) for pk in range(9)], whole=True)
    said = exports.convert("--again")
    assert "has no older snapshot" in said
    assert exports.judged().by_data_set() == {exports.judged().current(): exports.ours()[exports.judged().current()]}
    exports.add([deleted(5)])
    exports.convert()
    assert len(exports.judged().by_data_set()) == 2


def test_a_data_set_beside_the_current_one_is_no_snapshot(exports: Exports) -> None:
    exports.add([full(**item(pk)) for pk in range(9)], whole=True)
    exports.add([deleted(1)])
    exports.convert()
    before = exports.judged().by_data_set()
    exports.convert("--as-of", "2026-01-01T12:00:00Z")
    assert exports.judged().by_data_set() == before
    exports.add([deleted(2)])
    exports.convert()
    assert exports.judged().current() == datasets.current(exports.lake, TABLE).id


def test_a_table_that_others_wrote_to_is_left_alone(exports: Exports) -> None:
    exports.add([full(**item(pk)) for pk in range(9)], whole=True)
    exports.convert()
    with exports.table() as table:
        table.append(table.scan().to_arrow())
    exports.add([deleted(1)])
    said = exports.convert(code=2)
    assert "is not of whimbrel" in said
    assert len(exports.judged().metadata["snapshots"]) == 2
    (exports.lake / "iceberg.db").unlink()
    exports.convert()
    exports.agree()


def test_what_others_hold_or_roll_back_is_said_by_name(exports: Exports) -> None:
    exports.add([full(**item(pk)) for pk in range(9)], whole=True)
    exports.convert()
    with exports.table() as table:
        table.manage_snapshots().create_tag(table.current_snapshot().snapshot_id, "theirs").commit()
    for pk in range(3):
        exports.add([deleted(pk)])
        said = exports.convert(code=2 if pk == 2 else 0)
    assert "'theirs' holds snapshot" in said
    with exports.table() as table:
        table.manage_snapshots().remove_tag("theirs").commit()
    exports.convert()
    exports.agree()
    with exports.table() as table:
        first = min(table.metadata.snapshots, key=lambda each: each.timestamp_ms)
        table.manage_snapshots().rollback_to_snapshot(first.snapshot_id).commit()
    assert "does not show the snapshot of" in exports.convert(code=2)


def test_a_lake_that_was_moved_is_said_by_name(exports: Exports, tmp_path: Path) -> None:
    exports.add([full(**item(pk)) for pk in range(9)], whole=True)
    exports.convert()
    exports.lake.rename(tmp_path / "moved")
    exports._replace("[lake]\n", '[lake]\nfolder = "moved"\n')
    assert "the Iceberg table is not of this lake" in exports.convert(code=2)


def test_names_that_iceberg_cannot_tell_apart_are_refused(exports: Exports) -> None:
    exports.add([full(**item(1, **{"m": {"M": {"a": {"N": "1"}}}, "m.a": {"S": "x"}}))], whole=True)
    assert "Iceberg cannot have these columns" in exports.convert(code=2)


def test_a_name_that_not_every_engine_takes_is_refused(tmp_path: Path) -> None:
    made = Exports(tmp_path, dataset='name = "Shop-1"\n')
    assert "must be of small letters, digits and _" in made.convert(code=2)


def test_no_items_make_an_empty_snapshot(tmp_path: Path) -> None:
    made = Exports(tmp_path, dataset='[dataset.columns]\npk = "string"\nn = "int64"\n')
    made.add([], whole=True)
    made.convert()
    made.agree()
    made.add([written(1, n={"N": "1"})])
    made.convert()
    made.agree()


# Whatever happens between.


@pytest.mark.parametrize("steps", [(3, 8), pytest.param(range(1, 31), marks=pytest.mark.slow)], ids=["some", "all"])
def test_a_run_that_is_killed_leaves_a_table_that_the_next_one_brings_up(exports: Exports, steps: range) -> None:
    exports.add([full(**item(pk)) for pk in range(50)], whole=True)
    for number, step in enumerate(steps):
        killed = exports.killed(step)
        exports.convert()
        exports.agree()
        assert killed or step > 10, "there is such a step"
        exports.add([deleted(number), written(100 + number, n={"N": "1"})])


def test_of_two_that_add_a_snapshot_one_looks_again(exports: Exports, monkeypatch: pytest.MonkeyPatch) -> None:
    exports.add([full(**item(pk)) for pk in range(9)], whole=True)
    exports.convert()
    exports.add([deleted(1)])
    real, other = iceberg_entries.data_file, list[str]()

    def meanwhile(*arguments: Any) -> Any:
        """Another process publishes before this one does."""
        if not other:
            other.append("")
            other[0] = exports.convert()
        return real(*arguments)

    monkeypatch.setattr(iceberg, "data_file", meanwhile)
    exports.convert()
    assert "Snapshot" in other[0]
    exports.agree()


def test_a_catalog_that_never_takes_it_ends_by_name(exports: Exports, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: Any, **__: Any) -> None:
        raise CommitFailedException("somebody else")

    exports.add([full(**item(pk)) for pk in range(9)], whole=True)
    monkeypatch.setattr(FileCatalog, "commit_table", refuses)
    assert "others change the Iceberg table all the time" in exports.convert(code=3)
    monkeypatch.undo()
    exports.convert()
    exports.agree()


@pytest.mark.parametrize("made_by", ["whimbrel", "pyiceberg"])
def test_the_catalog_is_one_that_pyiceberg_reads_and_writes(exports: Exports, made_by: str) -> None:
    from pyiceberg.catalog.sql import SqlCatalog

    exports.add([full(**item(pk)) for pk in range(9)], whole=True)
    exports.lake.mkdir(exist_ok=True)
    uri = f"sqlite:///{exports.lake / 'iceberg.db'}"
    if made_by == "pyiceberg":
        with closing(SqlCatalog("whimbrel", uri=uri)) as theirs:
            theirs.create_namespace("whimbrel")
    exports.convert()
    exports.add([deleted(1)])
    exports.convert()
    exports.agree()
    with closing(SqlCatalog("whimbrel", uri=uri)) as theirs:
        assert theirs.list_namespaces() == [("whimbrel",)]
        assert theirs.list_tables("whimbrel") == [("whimbrel", TABLE)]
        table = theirs.load_table(("whimbrel", TABLE))
        assert by_key(table.scan().to_arrow().to_pylist()) == max(exports.ours().items())[1]
        with table.transaction() as change:  # a commit of theirs, after which ours continues
            change.set_properties({"owner": "somebody"})
        exports.add([written(3, n={"N": "33"})])
        exports.convert()
        exports.agree()
        assert theirs.load_table(("whimbrel", TABLE)).properties["owner"] == "somebody"
        theirs.drop_table(("whimbrel", TABLE))
    exports.convert()
    exports.agree()


# Any values.


@example([{"a" * 300: {"N": "1"}, "\U00011daa": {"NULL": True}, "two\nlines": {"S": "x"}, "\xa0": {"S": "y"}}], [])
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(items, min_size=1, max_size=5), st.lists(st.dictionaries(st.sampled_from("abcA"), values), max_size=3))
def test_any_items_are_read_as_our_own_sql_reads_them(
    tmp_path_factory: pytest.TempPathFactory, first: list[Any], later: list[Any]
) -> None:
    made = Exports(tmp_path_factory.mktemp("any"))
    made.add([full(**each | {"pk": {"S": f"{number:03}"}}) for number, each in enumerate(first)], whole=True)
    made.add([written(number, **each) for number, each in enumerate(later)])
    assert made.machine.call("convert", TABLE).exit_code in (0, 4), "4: refused items"
    made.agree()
    _check_filters(made)


def _check_filters(made: Exports) -> None:
    """A reader leaves out files by the bounds of their values: none that has the value."""
    rows = next(reversed(made.ours().values()))
    with made.table() as table:
        for name in {name for row in rows for name in row if "." not in name}:
            for row in rows:
                if isinstance(row[name], str | bytes | bool | int | float):
                    found = table.scan(row_filter=EqualTo(name, row[name]), selected_fields=("pk",)).to_arrow()
                    assert row["pk"] in found["pk"].to_pylist()
