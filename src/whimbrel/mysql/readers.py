"""The snapshot's connections: asyncmy's, because it streams rows for a tenth of PyMySQL's CPU, set up as connect.py
does it.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

import asyncmy

from whimbrel.errors import SourceUnreachable
from whimbrel.mysql.connect import (
    CONNECT_TIMEOUT,
    DECODERS,
    SESSION,
    Mysql,
    current_position,
    place_of,
    rows_as_dicts,
    tls_context,
    translated,
)
from whimbrel.project import Source
from whimbrel.records import Position

LOCK_WAIT = 2  # seconds; writers queue behind a lock that waits for a long statement
TRIES = 8  # failures of one connection in a row, about 35 seconds of them, before SourceUnreachable
LONGEST_BACK_OFF = 15.0  # seconds
READ_TIMEOUT = 300.0  # seconds without a byte from the server


async def open_reader(source: Source, *, tls: bool) -> Any:
    """A streaming connection; ``tls`` says if the server offers it (see ``uses_tls``). Raises SourceUnreachable,
    PrivilegeError.
    """
    with translated(place_of(source)):
        reader: Any = await asyncmy.connect(
            host=source.host,
            port=source.port,
            unix_socket=source.socket or None,
            user=source.user,
            password=source.password.encode(),
            charset="utf8mb4",
            autocommit=True,
            conv=DECODERS,
            init_command=SESSION,
            connect_timeout=CONNECT_TIMEOUT,
            read_timeout=READ_TIMEOUT,
            ssl=tls_context(source) if tls else None,
        )
        await reader.query("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        return reader


def uses_tls(connection: Mysql) -> bool:
    return bool(rows_as_dicts(connection, "SHOW SESSION STATUS LIKE 'Ssl_cipher'")[0]["Value"])


async def begin_together(side: Mysql, readers: list[Any]) -> tuple[Position, float]:
    """Begin a transaction on every reader while nothing can be committed: all of them show the source at one Position.

    Returns it and for how many milliseconds the source was locked: only while the transactions begin. Raises
    PrivilegeError, or SourceUnreachable when a long statement kept the lock waiting for LOCK_WAIT seconds.
    """
    await asyncio.to_thread(_execute, side, f"SET SESSION lock_wait_timeout = {LOCK_WAIT}")
    await asyncio.to_thread(_execute, side, "FLUSH TABLES WITH READ LOCK")
    began = time.perf_counter()
    try:
        with translated("START TRANSACTION WITH CONSISTENT SNAPSHOT"):
            await asyncio.gather(*(reader.query("START TRANSACTION WITH CONSISTENT SNAPSHOT") for reader in readers))
        position = await asyncio.to_thread(current_position, side)
    finally:
        await asyncio.to_thread(_execute, side, "UNLOCK TABLES")
    return position, (time.perf_counter() - began) * 1000


def _execute(connection: Mysql, statement: str) -> None:
    with translated(statement), connection.cursor() as cursor:
        cursor.execute(statement)


async def back_off(error: SourceUnreachable, failures: int) -> None:
    """Wait longer after each failure in a row, at random, so that the connections do not come back all at once."""
    if failures >= TRIES:
        raise SourceUnreachable(f"{error.message} ({TRIES} times in a row)", place=error.place, hint=error.hint)
    await asyncio.sleep(min(LONGEST_BACK_OFF, 0.25 * 2**failures) * random.uniform(0.5, 1.0))
