"""Private servers for the demo and the tests: MariaDB (two releases), MySQL, PostgreSQL, three stand-ins for DynamoDB
and one each for Kinesis and SageMaker.

Each is used with ``with``, or with ``start()`` and ``stop()``. It keeps everything that it writes in its folder,
listens on a free port of 127.0.0.1 and nowhere else, never runs as root, is ready when ``start()`` returns, and dies
with the thread that started it::

    with MariaDB(folder) as server, Ministack(folder / "aws") as aws:
        server.execute("CREATE DATABASE shop")
        source, target = server.source("shop"), aws.target()

``restart()``, ``kill()`` (SIGKILL) and ``start()`` again keep the port, the data and the passwords; only Ministack
forgets its tables. ``ServerUnavailable`` says why a server cannot be had on this machine.
"""

from __future__ import annotations

from demo.servers.dynamo import Dynalite, DynamoDBLocal, DynamoServer, Ministack
from demo.servers.kinesis import Kinesalite
from demo.servers.postgres import PostgreSQL
from demo.servers.process import Server, ServerFailed, ServerUnavailable
from demo.servers.sagemaker import SageMaker
from demo.servers.sql import MariaDB, MariaDB118, MySQL, SqlServer, any_sql_server

__all__ = [
    "Dynalite",
    "DynamoDBLocal",
    "DynamoServer",
    "Kinesalite",
    "MariaDB",
    "MariaDB118",
    "Ministack",
    "MySQL",
    "PostgreSQL",
    "SageMaker",
    "Server",
    "ServerFailed",
    "ServerUnavailable",
    "SqlServer",
    "any_sql_server",
]
