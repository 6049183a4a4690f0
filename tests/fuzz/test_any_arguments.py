"""Whatever stands on the command line, it ends with a documented exit code, and never with a traceback."""

from __future__ import annotations

from contextlib import chdir
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.any import often, texts
from whimbrel.cli.main import main

# Those that run until they are stopped, or ask AWS first when nothing is wrong with their arguments.
LEFT_OUT = {"serve", "console", "schedule", "endpoint", "export"}
COMMANDS: dict[str, click.Command] = {}
for word in sorted(set(main.commands) - LEFT_OUT):
    each = main.commands[word]
    within = each.commands if isinstance(each, click.Group) else {}
    COMMANDS |= {f"{word} {name}": command for name, command in within.items()} or {word: each}
ENVIRONMENT = {"WHIMBREL_SOURCE_PASSWORD": "x", "PIP_NO_INDEX": "1"}  # nothing is fetched for a package
PROJECT = """
[source]
url = "mysql://user@127.0.0.1:1/shop"
[[table]]
source = "t"
target = "t"
partition_key = { name = "id", type = "N" }
"""


@pytest.mark.parametrize("name", COMMANDS)
@often(15)
@given(data=st.data())
def test_arguments_of_any_kind(tmp_path: Path, name: str, data: st.DataObject) -> None:
    options = [text for each in COMMANDS[name].params if isinstance(each, click.Option) for text in each.opts]
    (tmp_path / "whimbrel.toml").write_text(PROJECT)
    (tmp_path / "folder").mkdir(exist_ok=True)
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\0")
    values = st.sampled_from(["t", "0", "-1", "1e999", "nan", "mysql://[", "mysql://u@127.0.0.1:1/d", "", "\udcff"])
    files = st.sampled_from(["whimbrel.toml", "folder", "bytes", "missing", "missing/x"])
    one = (
        st.sampled_from(options)
        | values
        | texts.filter(lambda text: "\0" not in text)
        | files.map(lambda file: str(tmp_path / file))
    )
    arguments = data.draw(st.lists(one, max_size=4))
    project = data.draw(st.sampled_from([["-p", str(tmp_path / "whimbrel.toml")], []]))
    with chdir(tmp_path / "folder"):  # some write where they are
        result = CliRunner().invoke(main, [*name.split(), *project, *arguments], input="", env=ENVIRONMENT)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code in (0, 2, 3), result.output


@pytest.mark.parametrize(
    ("endpoint", "region", "table"),
    [
        ("http://[", "us-east-1", "t"),
        ("http://127.0.0.1:99999", "us-east-1", "t"),
        ("ftp://here", "us-east-1", "t"),
        ("http://127.0.0.1:1", "a b", "t"),
        ("http://127.0.0.1:1", "us-east-1", ""),
    ],
)
def test_targets_that_cannot_be_one(tmp_path: Path, endpoint: str, region: str, table: str) -> None:
    file = tmp_path / "whimbrel.toml"
    file.write_text(f'[target]\nendpoint = "{endpoint}"\nregion = "{region}"\n')
    result = CliRunner().invoke(main, ["export", "-p", str(file), table])
    assert isinstance(result.exception, SystemExit)
    assert (result.exit_code in (2, 3), "error[" in result.output) == (True, True)
