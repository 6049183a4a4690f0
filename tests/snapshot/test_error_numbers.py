"""A server's error is known by its number: what its message says does not matter."""

from __future__ import annotations

from typing import Any

import pymysql
import pytest
from pymysql.constants import CR, ER

from whimbrel.errors import PrivilegeError, SchemaDrift, SourceError, SourceUnreachable, WhimbrelError
from whimbrel.mysql.connect import binlog_status, replica_status, translate
from whimbrel.mysql.errors import Code


class Failing:
    """A connection whose every statement ends with one error."""

    def __init__(self, number: int, message: str) -> None:
        self._error = pymysql.err.OperationalError(number, message)

    def cursor(self, *_: Any) -> Any:
        raise self._error


@pytest.mark.parametrize("ask", [binlog_status, replica_status])
def test_an_error_that_only_speaks_of_1064_is_raised(ask: Any) -> None:
    with pytest.raises(SourceError, match="unknown") as raised:
        ask(Failing(1105, "unknown error of thread 1064"))
    assert raised.value.code == 1105


def test_a_statement_that_no_server_knows_is_no_replica() -> None:
    assert replica_status(Failing(1064, "You have an error in your SQL syntax")) == []  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (1045, PrivilegeError),
        (3159, PrivilegeError),
        (1969, SourceUnreachable),  # MariaDB's max_statement_time, as MySQL's 3024
        (3024, SourceUnreachable),
        (3168, SourceUnreachable),
        (2013, SourceUnreachable),
        (1146, SchemaDrift),
    ],
)
def test_what_a_number_is_taken_for(number: int, kind: type[WhimbrelError]) -> None:
    assert type(translate(pymysql.err.OperationalError(number, "…"), "here")) is kind


def test_the_names_are_those_of_the_client_library() -> None:
    theirs = {number: name for name, number in (vars(ER) | vars(CR)).items() if isinstance(number, int)}
    assert {code.name: theirs[code] for code in Code if code in theirs} == {
        code.name: code.name for code in Code if code in theirs
    }
