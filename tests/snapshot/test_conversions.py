"""The server is asked whether it reads the character sets in use as whimbrel does."""

from __future__ import annotations

from collections import Counter

import pytest

from demo.servers import SqlServer
from whimbrel.errors import UnsupportedSource
from whimbrel.mapping.unique import HAVE_TWO_CODES
from whimbrel.mysql import conversions
from whimbrel.mysql.charsets import PYTHON_NAMES, Codec, python_codec
from whimbrel.mysql.connect import connect
from whimbrel.records import Column, Table


def table_of(*charsets: str) -> Table:
    columns = [Column(f"v_{charset}", "text", charset=charset) for charset in charsets]
    return Table("shop", "t", (Column("id", "int"), *columns), ("id",))


def test_both_read_every_character_set_alike(source_server: SqlServer) -> None:
    with connect(source_server.source("")) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT CHARACTER_SET_NAME FROM information_schema.CHARACTER_SETS")
        has = {name for (name,) in cursor.fetchall()}
        conversions.same_as_server(connection, [table_of(*sorted(has & PYTHON_NAMES.keys()))])


def test_a_code_that_is_read_otherwise_is_named(source_server: SqlServer, monkeypatch: pytest.MonkeyPatch) -> None:
    right = python_codec("sjis")
    wrong = Codec(lambda data: right.decode(data).replace("表", "裏"), right.encode)
    monkeypatch.setattr(conversions, "python_codec", lambda charset, place: wrong)
    with (
        connect(source_server.source("")) as connection,
        pytest.raises(UnsupportedSource, match=r"shop\.t\.v_sjis.*code 955c of the character set sjis as '表'"),
    ):
        conversions.same_as_server(connection, [table_of("sjis")])


def test_the_character_sets_with_two_codes_for_one_character_are_known() -> None:
    several = set()
    for charset in PYTHON_NAMES.keys() - conversions.UNICODE:
        characters = Counter(character for _, character in conversions.codes_of(charset, ""))
        if max(characters.values()) > 1:
            several.add(charset)
    assert several == HAVE_TWO_CODES
