"""MySQL's character sets in Python, each exactly as the servers convert it (tests/snapshot/test_charsets.py compares
both servers' own conversion, code by code).
"""

# ruff: noqa: RUF001
from __future__ import annotations

import codecs
import contextlib
import functools
import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from whimbrel.errors import UnsupportedSource
from whimbrel.mysql.connect import Mysql, rows_as_dicts


class Codec(NamedTuple):
    """A MySQL character set in Python. Both raise UnicodeError for what the character set does not have: nothing is
    replaced.
    """

    decode: Callable[[bytes], str]
    encode: Callable[[str], bytes]


# MySQL's name → Python's, which PATCHES corrects.
PYTHON_NAMES = dict(  # noqa: C408
    utf8mb4="utf-8", utf8mb3="utf-8", utf8="utf-8", ascii="ascii",
    ucs2="utf-16-be", utf16="utf-16-be", utf16le="utf-16-le", utf32="utf-32-be",
    latin1="cp1252", latin2="iso8859-2", latin5="iso8859-9", latin7="iso8859-13",
    greek="iso8859-7", hebrew="iso8859-8", tis620="tis-620", hp8="hp-roman8",
    koi8r="koi8-r", koi8u="koi8-u", macce="mac-latin2", macroman="mac-roman",
    cp850="cp850", cp852="cp852", cp866="cp866", cp1250="cp1250", cp1251="cp1251", cp1256="cp1256", cp1257="cp1257",
    big5="big5", gb2312="gb2312", gbk="gbk", gb18030="gb18030", euckr="cp949",
    sjis="shift_jis", cp932="cp932", ujis="euc_jp", eucjpms="euc_jp",
    dec8="latin-1", swe7="ascii", armscii8="latin-1", geostd8="cp1252", keybcs2="cp437",
)  # fmt: skip


def _from(first: int, characters: str) -> dict[int, str]:
    """Characters of the codes from ``first`` on; a space stands for none."""
    return {first + offset: character.strip() for offset, character in enumerate(characters)}


# Where MySQL's single-byte set has another character than Python's, or ("") none.
PATCHES: dict[str, dict[int, str]] = {
    "latin1": {byte: chr(byte) for byte in (0x81, 0x8D, 0x8F, 0x90, 0x9D)},
    "dec8": {
        **dict.fromkeys((0xA4, 0xA6, 0xAC, 0xAD, 0xAE, 0xAF, 0xB4, 0xB8, 0xBE, 0xD0, 0xDE, 0xF0, 0xFE, 0xFF), ""),
        0xA8: "¤",
        0xD7: "Œ",
        0xDD: "Ÿ",
        0xF7: "œ",
        0xFD: "ÿ",
    },
    "swe7": {0x40: "É", **_from(0x5B, "ÄÖÅÜ"), 0x60: "é", **_from(0x7B, "äöåü ")},
    "armscii8": {
        **_from(0xA1, "❁§։)(»«—.՝,-՟…՜՛՞"),
        **{0xB2 + 2 * letter: chr(0x531 + letter) for letter in range(38)},
        **{0xB3 + 2 * letter: chr(0x561 + letter) for letter in range(38)},
        **_from(0xFE, "’'"),
    },
    "geostd8": {
        **dict.fromkeys((0x83, 0x88, 0x8A, 0x8C, 0x8E, 0x98, 0x99, 0x9A, 0x9C, 0x9E, 0x9F, 0xFE, 0xFF), ""),
        **_from(0xC0, "აბგდევზჱთიკლმნჲოპჟრსტჳუფქღყშჩცძწჭხჴჯჰჵ" + " " * 23 + "№"),
    },
    "keybcs2": _from(0x80, "ČüéďäĎŤčěĚĹÍľĺÄÁÉžŽôöÓůÚýÖÜŠĽÝŘťáíóúňŇŮÔšřŕŔ¼"),
    "koi8u": {0x95: "\u2022"},
    "cp866": {0xFC: "\u207f", 0xFD: "\u00b2"},
    "hebrew": {0xAF: "\u203e"},
    "greek": {0xA1: "\u02bd", 0xA2: "\u02bc", 0xA4: "", 0xA5: "", 0xAA: ""},
    "cp1256": dict.fromkeys((0x8A, 0x8F, 0x98, 0x9A, 0x9F, 0xAA, 0xC0, 0xFF), ""),
}


@functools.cache
def python_codec(charset: str, place: str = "") -> Codec:
    """How to decode and encode MySQL's ``charset``. Raises UnsupportedSource for one that Python has no exact match
    for.
    """
    name = PYTHON_NAMES.get(charset)
    if name is None:
        raise UnsupportedSource(
            f"character set {charset} cannot be decoded exactly",
            place=place,
            hint="Convert it: ALTER TABLE … CONVERT TO CHARACTER SET utf8mb4",
        )
    if charset in PATCHES:
        return _patched(name, PATCHES[charset])
    if name == "utf-8":
        return Codec(bytes.decode, str.encode)
    if charset == "eucjpms":
        return _eucjpms()
    if name == "gb18030":
        return _gb18030()
    if charset in EXCEPTIONS:
        return _with_exceptions(name, EXCEPTIONS[charset])
    return Codec(lambda data: data.decode(name), lambda text: text.encode(name))


def invalid_text(error: UnicodeDecodeError, place: str, where: str = "") -> UnsupportedSource:
    """``where`` says which text it is, as closely as the caller knows."""
    return UnsupportedSource(
        f"text{where} is not valid in its character set: {error}",
        place=place,
        hint="Repair the row, or make the column BINARY",
    )


def _patched(name: str, patches: Mapping[int, str]) -> Codec:
    none = "\ufffe"  # charmap_decode's own mark for "undefined"
    characters = [patches.get(byte, bytes([byte]).decode(name, "ignore")) or none for byte in range(256)]
    table = "".join(characters)
    encoding = codecs.charmap_build(table)
    return Codec(
        lambda data: codecs.charmap_decode(data, "strict", table)[0],
        lambda text: codecs.charmap_encode(text, "strict", encoding)[0],
    )


def _gb18030() -> Codec:
    """Python has the standard of 2000; that of 2005, which MySQL has, exchanged two characters."""
    swap = {0xE7C7: 0x1E3F, 0x1E3F: 0xE7C7}
    return Codec(
        lambda data: data.decode("gb18030").translate(swap), lambda text: text.translate(swap).encode("gb18030")
    )


class Exceptions(NamedTuple):
    """Where MySQL's multi-byte set differs from Python's: characters by their codes ("" for none), and codes by
    characters (b"" for none). ``code`` finds the codes in a text.
    """

    code: re.Pattern[bytes]
    characters: dict[bytes, str]
    codes: dict[str, bytes]


_BIG5_MORE = {(0xF9D6 + place).to_bytes(2, "big"): character for place, character in enumerate("碁銹裏墻恒粧嫺")}
_BIG5_NONE = tuple(map(bytes.fromhex, ("a15a", "a1c3", "a1c5", "a1fe", "a240", "a2cc", "a2ce")))
_FULLWIDTH_BACKSLASH = "\uff3c"
EXCEPTIONS = {
    # Seven characters of the ETEN extension; and seven codes that the servers have no character for.
    "big5": Exceptions(
        re.compile(rb"[\x81-\xfe].|.", re.DOTALL),
        {**_BIG5_MORE, **dict.fromkeys(_BIG5_NONE, "")},
        {**{character: code for code, character in _BIG5_MORE.items()}, **dict.fromkeys("\u2574\uffe3\u02cd", b"")},
    ),
    # The servers write a backslash as the fullwidth one, and read either as a backslash.
    "sjis": Exceptions(
        re.compile(rb"[\x81-\x9f\xe0-\xfc].|.", re.DOTALL),
        {b"\x81\x5f": "\\"},
        {"\\": b"\x81\x5f", _FULLWIDTH_BACKSLASH: b""},
    ),
    "ujis": Exceptions(
        re.compile(rb"\x8f..|[^\x00-\x7f].|.", re.DOTALL), {b"\xa1\xc0": "\\"}, {_FULLWIDTH_BACKSLASH: b""}
    ),
}


def _with_exceptions(name: str, exceptions: Exceptions) -> Codec:
    """Most texts have none of them, and go through Python's own codec in one call."""
    some_code = re.compile(b"|".join(map(re.escape, exceptions.characters)), re.DOTALL)
    some_character = re.compile(f"[{re.escape(''.join(exceptions.codes))}]")

    def decode(data: bytes) -> str:
        if not some_code.search(data):
            return data.decode(name)
        pieces = exceptions.code.findall(data)
        found = [exceptions.characters.get(piece, None) for piece in pieces]
        if "" in found:
            raise UnicodeDecodeError(name, data, 0, len(data), "it has no character for a code")
        return "".join(piece.decode(name) if one is None else one for piece, one in zip(pieces, found, strict=True))

    def encode(text: str) -> bytes:
        if not some_character.search(text):
            return text.encode(name)
        found = [exceptions.codes.get(character) for character in text]
        if b"" in found:
            raise UnicodeEncodeError(name, text, 0, len(text), "it has no code for a character")
        return b"".join(one or character.encode(name) for character, one in zip(text, found, strict=True))

    return Codec(decode, encode)


# IBM's extension of JIS X 0212, from 8FF3F3 to 8FF4FE; escaped, as an editor might exchange what is compatible.
_IBM_CHARACTERS = (
    "\u2170\u2171\u2172\u2173\u2174\u2175\u2176\u2177\u2178\u2179\u2160\u2161\u2162\u2163\u2164\u2165"
    "\u2166\u2167\u2168\u2169\uff07\uff02\u3231\u2116\u2121\u70bb\u4efc\u50f4\u51ec\u5307\u5324\ufa0e"
    "\u548a\u5759\ufa0f\ufa10\u589e\u5bec\u5cf5\u5d53\ufa11\u5fb7\u6085\u6120\u654e\u663b\u6665\ufa12"
    "\uf929\u6801\ufa13\ufa14\u6a6b\u6ae2\u6df8\u6df2\u7028\ufa15\ufa16\u7501\u7682\u769e\ufa17\u7930"
    "\ufa18\ufa19\ufa1a\ufa1b\u7ae7\ufa1c\ufa1d\u7da0\u7dd6\ufa1e\u8362\ufa1f\u85b0\ufa20\ufa21\u8807"
    "\ufa22\u8b7f\u8cf4\u8d76\ufa23\ufa24\ufa25\u90de\ufa26\u9115\ufa27\ufa28\u9592\uf9dc\ufa29\u973b"
    "\u974d\u9751\ufa2a\ufa2b\ufa2c\u999e\u9ad9\u9b72\ufa2d\u9ed1"
)
_EUC_CODE = re.compile(rb"\x8f..|[^\x00-\x7f].|.", re.DOTALL)


def _eucjpms() -> Codec:
    """cp932's characters at EUC's codes, and JIS X 0212. Of the codes that one character has, the shortest is written;
    those for private use are refused.
    """
    characters = {}
    for code in _euc_codes():
        with contextlib.suppress(UnicodeDecodeError):
            characters[code] = _euc_character(code)
    codes = {characters[code]: code for code in sorted(characters, key=len, reverse=True)}

    def decode(data: bytes) -> str:
        found = [characters.get(code) for code in _EUC_CODE.findall(data)]
        if None in found:
            raise UnicodeDecodeError("eucjpms", data, 0, len(data), "it has no character for a code")
        return "".join(filter(None, found))

    def encode(text: str) -> bytes:
        found = [codes.get(character) for character in text]
        if None in found:
            raise UnicodeEncodeError("eucjpms", text, 0, len(text), "it has no code for a character")
        return b"".join(filter(None, found))

    return Codec(decode, encode)


def _euc_codes() -> Iterator[bytes]:
    rows = bytes(range(0xA1, 0xF5))
    yield from (bytes([byte]) for byte in range(0x80))
    yield from (bytes([0x8E, byte]) for byte in range(0xA1, 0xE0))
    for row, cell in itertools.product(rows, range(0xA1, 0xFF)):
        yield bytes([row, cell])
        yield bytes([0x8F, row, cell])


def _euc_character(code: bytes) -> str:
    """Raises UnicodeDecodeError if there is none."""
    ibm = (code[1] - 0xF3) * 94 + code[2] - 0xF3 if code[0] == 0x8F else -1
    if ibm >= 0:
        return _IBM_CHARACTERS[ibm]
    if code in (b"\x8f\xa2\xb7", b"\x8f\xa2\xc3"):
        return "～" if code[2] == 0xB7 else "￤"
    if code[0] == 0x8F or len(code) == 1:
        return code.decode("euc_jp")
    if code[0] == 0x8E:
        return code[1:].decode("cp932")
    row, cell = code[0] - 0xA1, code[1] - 0xA1
    lead = row // 2 + (0x81 if row < 62 else 0xC1)
    trail = cell + (0x9F if row % 2 else 0x40 if cell < 63 else 0x41)
    return bytes([lead, trail]).decode("cp932")


def collation_charsets(connection: Mysql) -> dict[int, str]:
    """Collation id → character set, for the ids in the binlog's table metadata."""
    if rows_as_dicts(
        connection, "SHOW COLUMNS FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY LIKE 'ID'"
    ):
        # MariaDB 10.10 and later: one collation name can stand for several ids, one for each character set.
        table = "COLLATION_CHARACTER_SET_APPLICABILITY"
    else:
        table = "COLLATIONS"
    rows = rows_as_dicts(connection, f"SELECT ID AS id, CHARACTER_SET_NAME AS charset FROM information_schema.{table}")
    return {int(row["id"]): row["charset"] for row in rows if row["id"] is not None and row["charset"]}
