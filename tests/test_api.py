"""``import whimbrel``: its names and signatures, and every function of it at work on real servers."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import whimbrel
from demo.servers import MariaDB, Ministack
from tests.closed import every_file_closed
from tests.conftest import unique
from tests.e2e.work import Work
from whimbrel.api.opened import opened
from whimbrel.errors import ProjectError, StateError, Stopped, UserError
from whimbrel.private import EVERYONE, OWNER, private

COUNTED_IN = {"Progress", "RowReport", "TableReport"}  # while the work goes on
PINNED = Path(__file__).with_name("public_api.txt")
ROWS = 300
PEOPLE = 'shape = "record"\npartition_key = { name = "id", type = "N" }\nassert_unique = true'
MORE = """
[[dataset]]
table = "{target}"
name = "people"
[[model]]
name = "people"
target = "y"
learner = "linear"
exclude = ["id"]
[[endpoint]]
name = "people"
model = "people"
traffic = "ALL_AT_ONCE"
wait = 0
bake = 0
capture_percent = 100
[[renewal]]
model = "people"
endpoint = "people"
cron = "0 3 1 1 *"
"""


def test_the_public_names_and_signatures_are_those_that_are_pinned() -> None:
    """Whoever changes one changes ``tests/public_api.txt`` too, and CHANGELOG.md says so."""
    assert "\n".join(public_lines()) + "\n" == PINNED.read_text()


def public_lines() -> Iterator[str]:
    for name in sorted(whimbrel.__all__):
        value = getattr(whimbrel, name)
        if inspect.isfunction(value):
            yield f"{name}{signature(value)}"
        elif dataclasses.is_dataclass(value):
            yield f"{name}: {', '.join(field.name for field in dataclasses.fields(value))}"
        elif fields := getattr(value, "_fields", ()):
            yield f"{name}: {', '.join(fields)}"
        else:
            yield name


def signature(function: Callable[..., Any]) -> str:
    found, words = inspect.signature(function), []
    for each in found.parameters.values():
        words += ["*"] if each.kind is each.KEYWORD_ONLY and "*" not in words else []
        words.append(f"{each.name}: {each.annotation}" + ("" if each.default is each.empty else f" = {each.default!r}"))
    return f"({', '.join(words)}) -> {found.return_annotation}"


def test_what_is_exported_is_where_it_is_said_to_be() -> None:
    for part, names in whimbrel._PARTS.items():
        module = importlib.import_module(f"whimbrel.{part}")
        assert {name: getattr(whimbrel, name) for name in names} == {name: getattr(module, name) for name in names}
        if part.startswith("api."):
            assert sorted(names) == sorted(module.__all__)
    named = {name for names in whimbrel._PARTS.values() for name in names}
    assert named | {"__version__", "errors"} == set(whimbrel.__all__)
    with pytest.raises(AttributeError, match="no attribute 'migrat'"):
        whimbrel.migrat  # noqa: B018


def test_options_are_named_and_results_are_frozen() -> None:
    for name in whimbrel.__all__:
        value = getattr(whimbrel, name)
        if inspect.isfunction(value):
            kinds = [
                each.kind for each in inspect.signature(value).parameters.values() if each.default is not each.empty
            ]
            assert set(kinds) <= {inspect.Parameter.KEYWORD_ONLY}, name
            assert value.__doc__, name
        elif dataclasses.is_dataclass(value) and name not in COUNTED_IN:
            assert value.__dataclass_params__.frozen, name


def test_what_a_function_returns_can_be_made_json() -> None:
    """But for a count, the project itself, and what DuckDB and Arrow give."""
    plain = {"None", "int", "Project", "Iterator[Database]", "Iterator[WarehouseSql]", "pyarrow.Table"}
    for name in whimbrel.__all__:
        value = getattr(whimbrel, name)
        if inspect.isfunction(value) and (returns := inspect.signature(value).return_annotation) not in plain:
            result = getattr(whimbrel, returns.removeprefix("tuple[").removesuffix(", ...]").removesuffix(" | None"))
            assert callable(result.to_dict), name


def test_importing_it_imports_nothing_else() -> None:
    code = "import sys, whimbrel; print(*(name for name in sys.modules if name.startswith('whimbrel.')))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.split() == ["whimbrel.errors"]


def test_a_fault_is_an_exception_and_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ProjectError, match="there is no project file"):
        whimbrel.migrate(tmp_path / "nowhere.toml")
    (tmp_path / "whimbrel.toml").write_text("")
    with pytest.raises(StateError, match="nothing has begun"):
        whimbrel.status(str(tmp_path / "whimbrel.toml"))
    with pytest.raises(UserError, match="no server runs"):
        whimbrel.predict(tmp_path / "whimbrel.toml", "1,2")
    with pytest.raises(ProjectError, match="there is no \\[\\[renewal\\]\\]"):
        whimbrel.renew(whimbrel.load_project(tmp_path / "whimbrel.toml"))
    with pytest.raises(StateError, match="No such file or directory"), opened(tmp_path / "whimbrel.toml"):
        (tmp_path / "missing" / "file").write_text("what the operating system refuses has a name of ours, too")
    assert capfd.readouterr() == ("", "")


def test_of_two_threads_the_stricter_decides_what_others_may_read(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        inside, leave = threading.Event(), threading.Event()

        def keep_private() -> None:
            with private(OWNER):
                inside.set()
                leave.wait()

        thread = threading.Thread(target=keep_private)
        with private(EVERYONE):
            assert mode_of_a_new_file(tmp_path / "shared") == 0o644
            thread.start()
            inside.wait()
            assert mode_of_a_new_file(tmp_path / "both") == 0o600
        assert mode_of_a_new_file(tmp_path / "the other") == 0o600
        leave.set()
        thread.join()
        assert mode_of_a_new_file(tmp_path / "nobody") == 0o666
    finally:
        os.umask(before)


def mode_of_a_new_file(path: Path) -> int:
    path.touch()
    return path.stat().st_mode & 0o777


# -- at work -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def people(tmp_path: Path, mariadb: MariaDB, ministack: Ministack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Work]:
    """A source table; the umask lets others read what is written, and the log and the signals are the process's own."""
    work = Work(tmp_path, mariadb, mariadb.new_database(), ministack, unique("person"), mapping=PEOPLE, table="person")
    values = ", ".join(f"({n}, {20 + n % 50}, '{'ab'[n % 2]}', {int(n % 50 > 25)})" for n in range(ROWS))
    mariadb.execute(
        f"CREATE TABLE `{work.database}`.person (id INT PRIMARY KEY, age INT, job VARCHAR(9), y INT)",
        f"INSERT INTO `{work.database}`.person VALUES {values}",
    )
    work.write_project()
    monkeypatch.setenv("WHIMBREL_SOURCE_PASSWORD", mariadb.password)
    before, handlers = os.umask(0), [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    logger = logging.getLogger("whimbrel")
    logging_as_it_was = (logger.level, list(logger.handlers), logger.propagate)
    yield work
    assert os.umask(before) == 0
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert (logger.level, logger.handlers, logger.propagate) == logging_as_it_was


def test_a_migration(people: Work, capfd: pytest.CaptureFixture[str]) -> None:
    project, updates = people.folder / "whimbrel.toml", []  # type: ignore[var-annotated]
    made = whimbrel.init(people.source.url(people.database), output=people.folder / "made.toml")
    assert (made.tables, made.left_out) == (1, ())
    assert whimbrel.check(project, progress=updates.append).errors == 0 < len(updates)
    updates.clear()
    preview = whimbrel.preview(project, rows=2)
    item = preview.tables[0].items[0].item
    assert item is not None
    assert item["job"] in ({"S": "a"}, {"S": "b"})
    assert [table.exists for table in whimbrel.plan_migrate(project).tables] == [False]
    assert [table.target for table in whimbrel.plan_migrate(by_dms(people)).tables] == ["elsewhere"]
    assert not people.state.exists()

    captured = whimbrel.capture(project, progress=updates.append)
    assert not captured.stopped
    assert whimbrel.snapshot(project).rows_exported == ROWS
    assert whimbrel.load(project).items_loaded == ROWS
    people.source.execute("UPDATE person SET age = 99 WHERE id = 1", database=people.database)
    assert whimbrel.capture(project).figures["captured"] == 1
    with every_file_closed(people.state):
        assert whimbrel.apply(project).changes_applied == 1
        done = whimbrel.migrate(project, progress=updates.append)
    assert (done.phase, done.rows_exported, done.dead_letters, done.stopped) == ("apply", ROWS, 0, False)
    assert any(update.message.startswith("Start fixed at") for update in updates)

    status = whimbrel.status(project)
    assert status.checkpoint.phase == "apply"
    verified = whimbrel.verify(project)
    assert (verified.equal, verified.tables[0].rows, verified.altered) == (True, ROWS, {})
    people.endpoint.client().delete_item(TableName=people.target, Key={"id": {"N": "7"}})
    assert whimbrel.verify(project).tables[0].counts == {"missing": 1}
    messages = [update.message for update in updates]
    assert whimbrel.refill(project, "person", progress=updates.append).dead_letters == 0
    assert f"{ROWS:,} items of {people.database}.person were written again." in [
        update.message for update in updates[len(messages) :]
    ]
    assert whimbrel.verify(project).equal
    assert whimbrel.retry_dead(project) == whimbrel.Retried(0, 0, 0)
    assert whimbrel.dead_letters(project) == 0
    for result in (preview, done, status, verified, made, *updates):
        json.dumps(result.to_dict())
    assert capfd.readouterr() == ("", "")
    people.assert_equal(expected, ("id",))  # type: ignore[arg-type]
    assert open_to_others(people.folder) == []
    same_as_the_command_says(people, status=whimbrel.status(project), preview=whimbrel.preview(project))


def test_a_command_that_cannot_begin_leaves_the_lock(people: Work) -> None:
    people.state.mkdir()
    (people.state / "dead.jsonl").write_text("{}\n")
    for _ in range(2):  # the second one is not told that another whimbrel is at work
        with pytest.raises(StateError, match=r"dead\.jsonl"):
            whimbrel.capture(people.folder / "whimbrel.toml")


def by_dms(people: Work) -> whimbrel.Project:
    """The project by the rules of an AWS DMS file, which move the table to another place."""
    locator = {"schema-name": people.database, "table-name": "person"}
    key = {
        "partition-key-name": "id",
        "attribute-mappings": [
            {
                "target-attribute-name": "id",
                "attribute-type": "scalar",
                "attribute-sub-type": "number",
                "value": "${id}",
            }
        ],
    }
    rules = [
        {"rule-type": "selection", "rule-action": "include", "object-locator": locator},
        {
            "rule-type": "object-mapping",
            "rule-action": "map-record-to-record",
            "object-locator": locator,
            "target-table-name": "elsewhere",
            "mapping-parameters": key,
        },
    ]
    file = people.folder / "rules.json"
    numbered = [{"rule-id": str(n), "rule-name": str(n)} | rule for n, rule in enumerate(rules, 1)]
    file.write_text(json.dumps({"rules": numbered}))
    file.chmod(0o600)
    return dataclasses.replace(whimbrel.load_project(people.folder / "whimbrel.toml"), dms=file)


def same_as_the_command_says(people: Work, **said: Any) -> None:
    for command, result in said.items():
        assert json.loads(people.run(command, "--json").stdout) == json.loads(json.dumps(result.to_dict())), command


def expected(server: MariaDB, database: str) -> Any:
    rows = server.execute("SELECT id, age, job, y FROM person", database=database)
    return {(row[0],): dict(zip(("id", "age", "job", "y"), row, strict=True)) for row in rows}


def open_to_others(folder: Path) -> list[str]:
    ours = [path for path in folder.rglob("*") if path.name != "whimbrel.toml" and not path.is_symlink()]
    return [str(path) for path in ours if path.stat().st_mode & 0o077]


def test_a_run_ends_where_its_caller_says(people: Work) -> None:
    project, stop, said, running = people.folder / "whimbrel.toml", threading.Event(), [], []

    def stop_when_caught_up(update: whimbrel.Update) -> None:
        said.append(update.message)
        if update.progress.caught_up:
            running.append(whimbrel.status(project).running)
            stop.set()

    done = whimbrel.migrate(project, until_caught_up=False, progress=stop_when_caught_up, stop=stop)
    assert (done.stopped, done.items_loaded) == (True, ROWS)
    assert running[0], "what `whimbrel status` shows of a run is there without a CLI"
    assert whimbrel.status(project).running is None
    with pytest.raises(Stopped):
        whimbrel.verify(project, stop=stop)

    def broken(update: whimbrel.Update) -> None:
        raise ZeroDivisionError(update.message)

    with pytest.raises(ZeroDivisionError):
        whimbrel.migrate(project, until_caught_up=False, progress=broken)
    assert whimbrel.migrate(project).dead_letters == 0


def test_a_lake_a_model_an_endpoint_and_its_renewal(people: Work, capfd: pytest.CaptureFixture[str]) -> None:
    for package in ("duckdb", "sklearn", "httptools", "apscheduler"):
        pytest.importorskip(package, reason="the extras 'lake', 'predict' and 'serve' are not installed")
    file = people.folder / "whimbrel.toml"
    file.write_text(file.read_text() + MORE.format(target=people.target))
    project, table, results = whimbrel.load_project(file), people.target, []  # type: ignore[var-annotated]
    whimbrel.migrate(project)
    over_the_lake(people, project, table, results)
    people_are_predicted(people, project, results)
    for result in results:
        json.dumps(result.to_dict())
    assert capfd.readouterr() == ("", "")
    assert open_to_others(people.folder) == []


def over_the_lake(people: Work, project: whimbrel.Project, table: str, results: list[Any]) -> None:
    counted: list[int] = []
    assert whimbrel.plan_export(project, table).kind == "full"
    exported = whimbrel.export(project, table, progress=counted.append)
    assert (exported.kind, exported.items, sum(counted)) == ("full", ROWS, ROWS)
    assert whimbrel.plan_convert(project, table).sources == (exported.id,)
    converted = whimbrel.convert(project, table, progress=counted.append)
    assert (converted.manifest.rows, sum(counted), converted.pinned) == (ROWS, 2 * ROWS, True)
    written = whimbrel.write_csv(project, table, path=people.folder / "people.csv", label="y", header=True)
    assert (people.folder / "people.csv").read_text().startswith("y,")
    found = whimbrel.query("SELECT count(*) AS n FROM people", project=people.folder / "whimbrel.toml")
    assert found.to_pylist() == [{"n": ROWS}]
    with whimbrel.open_database(project=project) as database:
        assert "age" in database.columns()["people"]
    planned = whimbrel.plan_restore(project, table, into=f"{table}-2")
    assert planned.key == (("id", "N"),)
    restored = whimbrel.restore(project, table, into=f"{table}-2")
    assert (restored.table, restored.puts, restored.refused) == (f"{table}-2", ROWS, ())
    results += [exported, converted, written, planned, restored]


def people_are_predicted(people: Work, project: whimbrel.Project, results: list[Any]) -> None:
    told: list[Any] = []
    assert [plan.rows["fit"] > 0 for plan in whimbrel.plan_train(project)] == [True]
    [model] = whimbrel.train(project, progress=told.append)
    assert told == [model]
    by_file = whimbrel.predict(project, "45,a", model=model.file)
    assert by_file.rows == whimbrel.predict(project, [{"age": 45, "job": "a"}], model=model.file).rows
    with serving(project):
        assert whimbrel.predict(project, "45,a").rows == by_file.rows
        assert whimbrel.update_endpoint(project, "people", model=Path(model.file), at_once=True).live
        [endpoint] = whimbrel.weigh_endpoint(project, "people", {"AllTraffic": 2.0})
        assert (endpoint.status, endpoint.variants[0].weight) == ("InService", 2.0)
    assert whimbrel.endpoints(project) == (endpoint,)
    moved = whimbrel.drift(project)
    assert (moved.endpoint, moved.drift.rows) == ("people", 1)
    assert whimbrel.plan_renew(project)[0].steps == ("export", "convert", "train", "gate", "update")
    [renewal] = whimbrel.renew(project, progress=told.append)
    assert (renewal.outcome, told[-1]) == ("kept", renewal)
    due: dict[str, Any] = {}
    stop = threading.Event()
    stop.set()
    whimbrel.schedule(project, due=due.__setitem__, stop=stop)
    assert due["people"].month == 1
    results += [model, by_file, endpoint, moved, renewal]


class serving:  # noqa: N801 - reads as what it does
    """The project's server in a thread of this process, until this is left."""

    def __init__(self, project: whimbrel.Project) -> None:
        self._project = project
        self._stop, self._ready = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._serve)

    def _serve(self) -> None:
        try:
            whimbrel.serve(self._project, port=0, ready=lambda url: self._ready.set(), stop=self._stop)
        finally:
            self._ready.set()

    def __enter__(self) -> None:
        self._thread.start()
        self._ready.wait()
        assert self._thread.is_alive()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
