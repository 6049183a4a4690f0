"""Whether the server itself reads the character sets in use as whimbrel does.

Snapshot, binlog and verification decode text by the same tables (charsets.py), so none of them would see a mistake
there. The server is the judge that shares no code with them: it converts every code of each character set in use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from whimbrel.errors import UnsupportedSource
from whimbrel.mysql.charsets import python_codec
from whimbrel.mysql.connect import Mysql, rows_as_dicts
from whimbrel.records import Table

UNICODE = frozenset({"", "binary", "utf8", "utf8mb3", "utf8mb4", "ucs2", "utf16", "utf16le", "utf32"})
# Python reads these single bytes, and no server stores them.
_NOT_STORED = {"cp932": b"\x80\xa0\xfd\xfe\xff", "gbk": b"\x80", "euckr": b"\x80", "big5": b"\x80"}
_LEADS_THREE = {"ujis": 0x8F, "eucjpms": 0x8F}
_AT_ONCE = 8_000  # codes in one question


def same_as_server(connection: Mysql, tables: Iterable[Table]) -> None:
    """Raises UnsupportedSource for a character set of ``tables`` of which the server reads a code otherwise.

    The four-byte codes of gb18030, which are a formula, are left to the tests.
    """
    in_use = {column.charset: f"{table.full_name}.{column.name}" for table in tables for column in table.columns}
    for charset, place in in_use.items():
        if charset not in UNICODE:
            _compare(connection, charset, place)


def _compare(connection: Mysql, charset: str, place: str) -> None:
    codes = list(codes_of(charset, place))
    for start in range(0, len(codes), _AT_ONCE):
        some = codes[start : start + _AT_ONCE]
        data = b"".join(code for code, _ in some)
        question = f"SELECT HEX(CONVERT(_{charset} X'{data.hex()}' USING utf8mb4)) AS said"
        said = bytes.fromhex(str(rows_as_dicts(connection, question)[0]["said"])).decode()
        if said != (ours := "".join(text for _, text in some)):
            at = next(i for i, (mine, theirs) in enumerate(zip(ours, said + "\0", strict=False)) if mine != theirs)
            code = next(code for code, text in some[at:] if text)
            raise UnsupportedSource(
                f"the server reads code {code.hex()} of the character set {charset} as {said[at : at + 1]!r}, and "
                f"whimbrel as {ours[at]!r}",
                place=place,
                hint="Please report it. Until then: ALTER TABLE … CONVERT TO CHARACTER SET utf8mb4",
            )


def codes_of(charset: str, place: str) -> Iterator[tuple[bytes, str]]:
    """Each code that is one character here, with it."""
    decode = python_codec(charset, place).decode
    leads = []
    for byte in set(range(256)).difference(_NOT_STORED.get(charset, b"")):
        try:
            yield bytes([byte]), decode(bytes([byte]))
        except UnicodeError:
            leads.append(bytes([byte]))
    yield from _longer(decode, leads)
    if three := _LEADS_THREE.get(charset):
        yield from _longer(decode, [bytes([three, second]) for second in range(0xA1, 0xFF)])


def _longer(decode: Callable[[bytes], str], leads: Iterable[bytes]) -> Iterator[tuple[bytes, str]]:
    for lead in leads:
        for byte in range(0x30, 256):
            code = lead + bytes([byte])
            try:
                text = decode(code)
            except UnicodeError:
                continue
            if len(text) == 1:
                yield code, text
