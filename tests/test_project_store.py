"""``[snapshot]`` and ``[load]`` as they are read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.test_project_stream import read
from whimbrel.errors import ProjectError
from whimbrel.project import Store

NO_STORES = (
    *("/tmp/x", "s3://bucket", "s3://bucket/", "s3://Bucket/a", "s3://b/a", "s3://bucket/a//b"),
    *("s3://bucket/a/../b", "s3://bucket/a b", "s3://bucket/ä", "s3://bucket/./a", "gs://bucket/a"),
)


def test_without_a_store_the_files_are_in_the_state_folder(tmp_path: Path) -> None:
    assert read(tmp_path, "").store is None
    assert read(tmp_path, "").loader == "process"


@pytest.mark.parametrize("url", ["s3://bucket/a/b=c", "s3://bucket/a/b=c/"])
def test_a_store_in_a_bucket(tmp_path: Path, url: str) -> None:
    found = read(tmp_path, f'[snapshot]\nstore = "{url}"\nendpoint = "http://127.0.0.1:1"\n[load]\nengine = "import"\n')
    assert (found.store, found.loader) == (Store("bucket", "a/b=c", "http://127.0.0.1:1"), "import")
    assert found.store.url == "s3://bucket/a/b=c"


def test_chunks_have_as_many_rows_with_a_store(tmp_path: Path) -> None:
    source, store = '[source]\nurl = "mysql://me@db/shop"\n', '[snapshot]\nstore = "s3://bucket/a"\n'
    assert read(tmp_path, source).source.chunk_rows == 40_000
    assert read(tmp_path, source + store).source.chunk_rows == 40_000
    assert read(tmp_path, f"{source}chunk_rows = 7\n{store}").source.chunk_rows == 7


@pytest.mark.parametrize(
    ("text", "said"),
    [
        *((f'[snapshot]\nstore = "{url}"\n', f"digits and -_./=, not {url!r}") for url in NO_STORES),
        ('[snapshot]\nendpoint = "http://h"\n', "snapshot.endpoint: has no effect without snapshot.store"),
        ('[snapshot]\nbucket = "b"\n', "snapshot.bucket: unknown key"),
        ('[load]\nengine = "import"\n', 'load.engine: "import" needs snapshot.store'),
        ('[load]\nengine = "fast"\n', "load.engine: must be 'process' or 'import' or 'spark', not 'fast'"),
        ('[snapshot]\nstore = "s3://bucket/a"\nendpoint = "http://me:secret@h"\n', "snapshot.endpoint: has a user"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ProjectError) as caught:
        read(tmp_path, text)
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)
