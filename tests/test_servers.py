"""The servers that every other test stands on: private, local, and kept through a SIGKILL where they say so."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pymysql
import pytest

from demo.servers import Dynalite, DynamoServer, MariaDB, Ministack, Server, ServerFailed, SqlServer
from demo.servers.process import _claim


def listening_addresses(server: Server) -> set[str]:
    """The local addresses, as the kernel writes them, on which anything listens on the server's port."""
    found = set()
    for file in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        for line in file.read_text().splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            address, port = local.split(":")
            if state == "0A" and int(port, 16) == server.port:
                found.add(address)
    return found


LOOPBACK = socket.inet_aton("127.0.0.1")[::-1].hex().upper()


def test_source_listens_on_loopback_only(source_server: SqlServer) -> None:
    assert listening_addresses(source_server) == {LOOPBACK}


def test_endpoint_listens_on_loopback_only(dynamodb_endpoint: DynamoServer) -> None:
    if dynamodb_endpoint.name == "dynamodb-local":
        pytest.skip("DynamoDB Local has no setting for the address that it listens on")
    assert listening_addresses(dynamodb_endpoint) == {LOOPBACK}


def test_source_never_runs_as_root(source_server: SqlServer) -> None:
    assert os.stat(f"/proc/{source_server.pid}").st_uid != 0


def test_committed_rows_survive_a_sigkill(source_server: SqlServer, database: str) -> None:
    source_server.execute("CREATE TABLE t (a INT PRIMARY KEY)", "INSERT INTO t VALUES (1)", database=database)
    port = source_server.port
    source_server.kill()
    assert not source_server.running
    source_server.start()
    assert source_server.execute("SELECT a FROM t", database=database) == ((1,),)
    assert source_server.port == port


def test_source_user_may_read_but_not_write(source_server: SqlServer, database: str) -> None:
    source_server.execute("CREATE TABLE t (a INT PRIMARY KEY)", database=database)
    source = source_server.source(database)
    user = {"user": source.user, "password": source.password}
    with source_server.connect(database, **user) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT a FROM t")
        with pytest.raises(pymysql.err.OperationalError, match="denied"):
            cursor.execute("INSERT INTO t VALUES (1)")


def test_binlog_holds_rows_and_gtids(source_server: SqlServer) -> None:
    assert source_server.execute("SELECT @@log_bin, @@binlog_format, @@binlog_row_image") == ((1, "ROW", "FULL"),)


def test_a_server_that_cannot_start_shows_its_log(tmp_path: Path) -> None:
    with pytest.raises(ServerFailed, match="no-such-option"):
        MariaDB(tmp_path, options=["--no-such-option"]).start()


def test_endpoint_holds_an_item(dynamodb_endpoint: DynamoServer, new_table_name: Callable[[str], str]) -> None:
    client, name = dynamodb_endpoint.client(), new_table_name("item")
    create(dynamodb_endpoint, name)
    client.put_item(TableName=name, Item={"id": {"S": "x"}})
    assert client.get_item(TableName=name, Key={"id": {"S": "x"}}, ConsistentRead=True)["Item"] == {"id": {"S": "x"}}


def test_dynalite_keeps_its_tables_through_a_sigkill(dynalite: Dynalite, new_table_name: Callable[[str], str]) -> None:
    name = new_table_name("kept")
    create(dynalite, name)
    dynalite.kill()
    dynalite.start()
    assert name in dynalite.client().list_tables()["TableNames"]


def test_ministack_forgets_its_tables(ministack: Ministack, new_table_name: Callable[[str], str]) -> None:
    name = new_table_name("gone")
    create(ministack, name)
    ministack.restart()
    assert name not in ministack.client().list_tables()["TableNames"]


def create(server: DynamoServer, name: str) -> None:
    server.client().create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    server.client().get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1})


def test_a_port_that_another_process_has_chosen_is_not_free_though_nobody_listens_yet() -> None:
    code = "import sys; from demo.servers.process import free_port; print(free_port(), flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdin
        assert other.stdout
        port = int(other.stdout.readline())
        with pytest.raises(OSError, match="in use"):
            _claim(port)
        other.stdin.close()
        other.wait()
    _claim(port)
