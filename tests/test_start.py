"""How a command starts: it imports what it uses, and no more. Modules are counted here, since times are the machine's;
docs/benchmarks.md has those.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest

from tests.lake.helper import change, full, write_export
from whimbrel import checkpoint
from whimbrel.checkpoint import Checkpoint, TableProgress
from whimbrel.cli.main import main
from whimbrel.records import Position

LOADED = """
import json, sys
before = set(sys.modules)
from whimbrel.__main__ import run
sys.argv = ["whimbrel", *sys.argv[1:]]
try:
    run()
except SystemExit as ended:
    code = ended.code
sys.stderr.write(json.dumps([code, sorted(set(sys.modules) - before)]))
"""
ARRAY = """
import sys
from whimbrel.__main__ import run
try:
    run()
except SystemExit:
    import pyarrow
pyarrow.array(range(3))
print("pandas" in sys.modules)
"""
ENDED = """
import atexit, gc, sys
atexit.register(lambda: sys.stderr.write(str(len(gc.get_objects()))))
from whimbrel.__main__ import run
run()
"""
WIDTH = 70  # so narrow that some lines are cut
PROJECT = """
[source]
url = "mysql://u@127.0.0.1:1/shop"
[target]
endpoint = "http://127.0.0.1:1"
[[table]]
source = "t"
target = "ttt"
shape = "record"
partition_key = { name = "id" }
"""
OF_HELP = {"__main__", "cli", "cli.main", "errors", "memory"}
OF_STATUS = OF_HELP | {
    *("api", "api.opened", "api.status", "cli.dms", "cli.frame", "cli.migrating", "cli.options", "cli.status"),
    *("cli.stopping", "file_name"),
    *("notes", "private", "threads", "ui", "ui.shortened", "ui.words"),
    *("project", "project.check", "project.cutover", "project.endpoint", "project.lake", "project.metrics"),
    "project.password",
    *("project.predict", "project.renew", "project.sagemaker", "project.section", "project.spark"),
    *("project.store", "project.stream", "project.source", "project.table", "project.typed", "project.warehouse"),
    *("warehouse", "warehouse.status"),
    *("changelog", "changelog.record", "checkpoint", "durable", "handed_over", "item", "records"),
    *("migration", "migration.dead", "migration.digest_set", "migration.dirty_files", "migration.figures"),
    *("migration.late_writes", "migration.letters_seen"),
    *("migration.live", "migration.past_fence_noted", "migration.progress", "migration.state", "migration.status"),
    *("migration.time_to_return", "migration.waivers"),
}


def test_help_imports_the_command_line_alone(tmp_path: Path) -> None:
    loaded = loaded_by(tmp_path, "--help")
    assert of_whimbrel(loaded) == OF_HELP
    assert of_others(loaded) == {"click"}
    assert len(loaded) < 150


def test_status_imports_the_state_and_neither_side(tmp_path: Path) -> None:
    (tmp_path / ".whimbrel").mkdir(mode=0o700)
    (tmp_path / "whimbrel.toml").write_text(PROJECT)
    now = Checkpoint(phase="apply", start=Position("bin.1", 4), tables={"shop.t": TableProgress(1, 10)})
    checkpoint.save(tmp_path / ".whimbrel" / "checkpoint.json", now)
    loaded = loaded_by(tmp_path, "status")
    assert of_whimbrel(loaded) == OF_STATUS
    assert of_others(loaded) == {"click", "orjson"}
    assert len(loaded) < 230


def test_a_conversion_of_few_changes_imports_pyarrow_and_nothing_else_of_its_size(tmp_path: Path) -> None:
    """DuckDB, numpy and tomlkit take longer to import than it does to convert, and boto3 is for a lake in S3."""
    project = tmp_path / "whimbrel.toml"
    project.write_text(f'{PROJECT}[[dataset]]\ntable = "shop"\nkey = ["pk"]\n')
    exports = tmp_path / "lake" / "exports" / "shop"
    write_export(
        exports, "01-0", "2026-01-01T00:00:00.000Z", [full(pk={"S": str(n)}, n={"N": str(n)}) for n in range(40)]
    )
    loaded_by(tmp_path, "convert", "shop")
    changed = [change({"pk": {"S": "7"}}, {"n": {"N": "8"}})]
    write_export(exports, "02-0", "2026-01-02T00:00:00.000Z", changed, "2026-01-01T00:00:00.000Z")
    loaded = of_others(loaded_by(tmp_path, "convert", "shop"))
    assert "pyarrow" in loaded
    assert not loaded & {"boto3", "botocore", "duckdb", "numpy", "pandas", "sqlglot", "tomlkit"}


def test_pyarrow_does_not_import_pandas_into_a_command() -> None:
    pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    done = subprocess.run([sys.executable, "-c", ARRAY, "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


def test_the_end_of_a_command_is_not_spent_looking_for_garbage() -> None:
    ended = subprocess.run([sys.executable, "-c", ENDED, "--help"], capture_output=True, text=True, check=True)
    assert int(ended.stderr) < 500, "objects that are looked at"


@pytest.mark.parametrize("name", main.commands)
def test_the_help_says_of_each_command_what_its_own_help_does(name: str) -> None:
    context = click.Context(main, info_name="whimbrel", terminal_width=WIDTH, max_content_width=WIDTH)
    [line] = [each for each in context.get_help().splitlines() if each.startswith(f"  {name} ")]
    assert line.split(maxsplit=1)[1] == main.commands[name].get_short_help_str(WIDTH - 6 - len("retry-dead"))


def loaded_by(folder: Path, *arguments: str) -> set[str]:
    """The modules that a command imports."""
    command = [sys.executable, "-c", LOADED, *arguments]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=60)
    code, loaded = json.loads(ended.stderr.splitlines()[-1])
    assert code == 0
    assert ended.stdout
    return set(loaded)


def of_whimbrel(loaded: set[str]) -> set[str]:
    return {name.removeprefix("whimbrel.") for name in loaded if name.startswith("whimbrel.")}


def of_others(loaded: set[str]) -> set[str]:
    """Packages that are neither ours nor the standard library's."""
    return {name.partition(".")[0] for name in loaded} - sys.stdlib_module_names - {"whimbrel"}
