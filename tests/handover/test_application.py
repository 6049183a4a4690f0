"""The application and its judge themselves: what was acknowledged is there, and what is planted is found."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from demo.application import Settings, create
from demo.judge import Notes, at_dynamodb, at_mysql
from demo.servers import Ministack, SqlServer


@pytest.fixture
def settings(source_server: SqlServer, ministack: Ministack, database: str, tmp_path: Path) -> Settings:
    with closing(source_server.connect(database)) as connection:
        create(connection)
    return Settings.of(source_server, database, ministack.endpoint, tmp_path, threads=4)


@pytest.mark.parametrize("source_server", ["mariadb", pytest.param("mysql", marks=pytest.mark.slow)], indirect=True)
def test_what_it_acknowledged_is_there_at_either_side(
    settings: Settings,
    source_server: SqlServer,
    ministack: Ministack,
    tmp_path: Path,
    new_table_name: Callable[[], str],
) -> None:
    client = ministack.client()
    purchase, customer = new_table_name(), new_table_name()
    _make(client, purchase, "customerid", "orderid")
    _make(client, customer, "customerid")
    at_both = Settings(**{**vars(settings), "purchase": purchase, "customer": customer})
    _run(at_both, tmp_path, 200)
    notes = Notes(tmp_path / "logs")
    with closing(source_server.connect(settings.database)) as connection:
        state = at_mysql(connection)
    assert notes.wrong(state) == []
    lost = next(key for key in state if len(key) == 3 and notes.possible(key) == {state[key]})
    assert len(notes.wrong({key: value for key, value in state.items() if key != lost})) == 1
    assert len(notes.wrong({**state, lost: state[lost] + 1})) == 1
    assert len(notes.wrong({**state, ("nobody",): 1})) == 1
    for path in (tmp_path / "logs").iterdir():
        path.unlink()
    Path(settings.route).write_text('{"side": "dynamodb"}')
    _run(at_both, tmp_path, 100)
    assert Notes(tmp_path / "logs").wrong(at_dynamodb(client, purchase, customer)) == []


def _run(settings: Settings, folder: Path, writes: int) -> None:
    command = [sys.executable, "-m", "demo.application", str(settings.save(folder / "application.json"))]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        end = time.monotonic() + 30
        while Notes(folder / "logs").acknowledged() < writes:
            assert process.poll() is None
            assert time.monotonic() < end
        process.terminate()
        assert process.wait(30) == 0


def _make(client: Any, name: str, *keys: str) -> None:
    client.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
        KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in zip(keys, ("HASH", "RANGE"), strict=False)],
    )
