"""Questions to the source that may take long: each has a limit of time, kept by the server."""

from __future__ import annotations

import time
from typing import Any

import pymysql

from whimbrel.mysql.connect import Mysql, ServerInfo, patient, translate
from whimbrel.mysql.errors import OUT_OF_TIME, code_of
from whimbrel.mysql.facts import Facts


class OutOfTime(Exception):
    """The server ended the statement at its time limit. Who asks says in its own words what is not known."""


class TimedQueries:
    """``seconds`` are for all questions together, from the first one on; 0 means no limit. ``facts`` were asked for
    about several tables at once.
    """

    def __init__(self, connection: Mysql, info: ServerInfo, seconds: float, facts: Facts | None = None) -> None:
        self.connection, self.facts = connection, facts
        self._mariadb = info.flavor == "mariadb"
        self._seconds = seconds
        self._began: float | None = None

    def rows(self, statement: str, place: str) -> list[tuple[Any, ...]]:
        """``statement`` begins with SELECT. Raises OutOfTime, and the errors of ``translate``."""
        try:
            with patient(self.connection), self.connection.cursor() as cursor:  # the server keeps the limit
                cursor.execute(self._limited(statement))
                return list(cursor.fetchall())
        except pymysql.err.Error as error:
            if code_of(error) in OUT_OF_TIME:
                raise OutOfTime from None
            raise translate(error, place) from error

    def row(self, statement: str, place: str) -> tuple[Any, ...]:
        return self.rows(statement, place)[0]

    def _limited(self, statement: str) -> str:
        if not self._seconds:
            return statement
        self._began = self._began or time.monotonic()
        left = self._seconds - (time.monotonic() - self._began)
        if left <= 0.001:
            raise OutOfTime
        if self._mariadb:
            return f"SET STATEMENT max_statement_time = {left:.3f} FOR {statement}"
        return statement.replace("SELECT", f"SELECT /*+ MAX_EXECUTION_TIME({int(left * 1000) + 1}) */", 1)
