"""``[log]`` and ``[apply]`` as they are read: engines that do not fit together are refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from whimbrel.errors import ProjectError
from whimbrel.project import Project, Stream, load_project

KINESIS, LAMBDA = 'engine = "kinesis"\nstream = "s"\n', '[apply]\nengine = "lambda"\n'


def read(tmp_path: Path, text: str) -> Project:
    file = tmp_path / "whimbrel.toml"
    file.write_text(text)
    return load_project(file)


def test_without_engines_the_process_applies_its_own_files(tmp_path: Path) -> None:
    assert read(tmp_path, "").stream is None
    assert read(tmp_path, '[log]\nengine = "files"\n[apply]\nengine = "process"\n').stream is None


def test_everything_that_a_stream_may_be(tmp_path: Path) -> None:
    assert read(tmp_path, f"[log]\n{KINESIS}{LAMBDA}").stream == Stream("s", "packed", "")
    more = 'format = "post"\nendpoint = "http://127.0.0.1:4567"\n'
    assert read(tmp_path, f"[log]\n{KINESIS}{more}{LAMBDA}").stream == Stream("s", "post", "http://127.0.0.1:4567")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"[log]\n{KINESIS}", 'apply.engine: must be "lambda" with log.engine'),
        (LAMBDA, 'apply.engine: must be "process" without log.engine'),
        (f'[log]\nengine = "kinesis"\n{LAMBDA}', "log.stream: must be the name of a Kinesis stream, not ''"),
        (f'[log]\nengine = "kinesis"\nstream = "a b"\n{LAMBDA}', "not 'a b'"),
        ('[log]\nstream = "s"\n', "log.stream: has no effect"),
        ('[log]\nformat = "post"\n', "log.format: has no effect"),
        ('[log]\nengine = "kafka"\n', "log.engine: must be 'files' or 'kinesis', not 'kafka'"),
        ('[apply]\nengine = "thread"\n', "apply.engine: must be 'process' or 'lambda', not 'thread'"),
        (f"[log]\n{KINESIS}shards = 3\n{LAMBDA}", "log.shards: unknown key"),
        (f'[target]\nmark = "off"\n[log]\n{KINESIS}{LAMBDA}', "needs the table of marks"),
        (f"[target]\nmax_write_units = 5\n[log]\n{KINESIS}{LAMBDA}", "target.max_write_units: must be 32 at least"),
        (f"[run]\nparallel_apply = true\n[log]\n{KINESIS}{LAMBDA}", "run.parallel_apply: has no effect"),
        (f'[log]\n{KINESIS}endpoint = "http://me:secret@h"\n{LAMBDA}', "log.endpoint: has a user or password"),
    ],
)
def test_what_does_not_fit_together_is_said(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ProjectError) as caught:
        read(tmp_path, text)
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)
