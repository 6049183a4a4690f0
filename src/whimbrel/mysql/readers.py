"""The snapshot's connections: asyncmy's, because it streams rows for a tenth of PyMySQL's CPU, set up as connect.py
does it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import Any

import asyncmy
from asyncmy import errors as asyncmy_errors

from whimbrel.errors import SourceUnreachable
from whimbrel.mysql.connect import (
    CONNECT_TIMEOUT,
    DECODERS,
    Mysql,
    place_of,
    rows_as_dicts,
    tls_context,
    translated,
)
from whimbrel.mysql.settings import CHARSET, settle
from whimbrel.project import Source

TRIES = 8  # failures of one connection in a row, about 35 seconds of them, before SourceUnreachable
LONGEST_BACK_OFF = 15.0  # seconds
READ_TIMEOUT = 300.0  # seconds without a byte from the server


async def open_reader(source: Source, *, tls: bool) -> Any:
    """A streaming connection; ``tls`` says if the server offers it (see ``uses_tls``). Raises SourceUnreachable,
    PrivilegeError, UnsupportedSource.
    """
    with translated(place_of(source)):
        reader: Any = await asyncmy.connect(
            host=source.host,
            port=source.port,
            unix_socket=source.socket or None,
            user=source.user,
            password=source.password.encode(),
            charset=CHARSET,
            autocommit=True,
            conv=DECODERS,
            connect_timeout=CONNECT_TIMEOUT,
            read_timeout=READ_TIMEOUT,
            ssl=tls_context(source) if tls else None,
        )
        try:
            await _settle(reader, place_of(source))
        except BaseException:
            reader.close()
            raise
        return reader


async def _settle(reader: Any, place: str) -> None:
    steps = settle(place)
    with contextlib.suppress(StopIteration):
        statement = next(steps)
        while True:
            try:
                rows = await rows_of(reader, statement)
            except asyncmy_errors.Error as error:
                statement = steps.throw(error)
            else:
                statement = steps.send(rows)


async def rows_of(reader: Any, statement: str) -> list[tuple[Any, ...]]:
    """All rows of a statement whose answer is short."""
    async with reader.cursor() as cursor:
        await cursor.execute(statement)
        return [tuple(row) for row in await cursor.fetchall()]


def uses_tls(connection: Mysql) -> bool:
    return bool(rows_as_dicts(connection, "SHOW SESSION STATUS LIKE 'Ssl_cipher'")[0]["Value"])


async def back_off(error: SourceUnreachable, failures: int) -> None:
    """Wait longer after each failure in a row, at random, so that the connections do not come back all at once."""
    if failures >= TRIES:
        raise SourceUnreachable(f"{error.message} ({TRIES} times in a row)", place=error.place, hint=error.hint)
    await asyncio.sleep(min(LONGEST_BACK_OFF, 0.25 * 2**failures) * random.uniform(0.5, 1.0))
