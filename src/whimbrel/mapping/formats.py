"""How a column stands in a template other than as its own text: ``${id:010d}``, ``${placed:%Y-%m-%d}``, ``${id%16}``.

A format gives a text of one form only, or refuses the row: a number too long for its padding, a date that has no epoch.
Those that *tell* the column's value can be read back. Others are lossy: with them alone nothing tells two rows apart.
What a format makes never changes from one version of whimbrel to another, as it is in the keys of tables.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Callable, Collection
from functools import lru_cache
from typing import NamedTuple

from whimbrel.mapping import forms
from whimbrel.mapping.epochs import UNITS, epoch_text, time_of_epoch
from whimbrel.mapping.forms import Refused, shown
from whimbrel.mapping.values import text_bound, values_of_text
from whimbrel.records import Column, Value

_DIGITS = frozenset("0123456789")
_HEXADECIMAL = _DIGITS | set("abcdef")
_UUID = "00000000-0000-0000-0000-000000000000"
_TIME = "0000-00-00T00:00:00.000000"
CHARACTERS = {  # all that the text of a kind may contain
    "int": _DIGITS | {"-"},
    "year": _DIGITS,
    "bit": _DIGITS,
    "decimal": _DIGITS | set("-."),
    "float": _DIGITS | set("-.e+"),
    "double": _DIGITS | set("-.e+"),
    "date": _DIGITS | {"-"},
    "time": _DIGITS | set("-:."),
    "datetime": _DIGITS | set("-:.T"),
    "timestamp": _DIGITS | set("-:.TZ"),
    "uuid": _DIGITS | set("abcdefABCDEF"),
    "inet4": _DIGITS | {"."},
    "inet6": _DIGITS | set("abcdefABCDEF:."),
}

_TIMES = ("date", "datetime", "timestamp")
_INTEGERS = ("int", "year", "bit", "computed")
_LETTERS = ("text", "enum", "set", "uuid", "inet6", "computed")
_NO_STABLE_TEXT = ("float", "double", "json", "geometry")
MAX_WIDTH, MAX_BUCKETS = 38, 65_536
_PARTS = {"Y": (0, 4), "m": (5, 7), "d": (8, 10), "H": (11, 13), "M": (14, 16), "S": (17, 19), "f": (20, 26)}
_NEEDED = {"date": "Ymd", "datetime": "YmdHMS", "timestamp": "YmdHMS"}
_UPPER = {code: code - 32 for code in range(ord("a"), ord("z") + 1)}  # ASCII: Unicode's letters change
_LOWER = {upper: lower for lower, upper in _UPPER.items()}


class Reference(NamedTuple):
    """``${column}``, with a format, and with the text that stands for NULL (None: a NULL is refused)."""

    column: str
    form: str = ""
    default: str | None = None

    @property
    def plain(self) -> bool:
        return not self.form and self.default is None


class Format(NamedTuple):
    """``number`` is the width of ``padded``, how many of ``modulo`` and ``bucket``; ``text`` the form itself."""

    kind: str
    text: str
    number: int = 0


def reference_of(inside: str, names: Collection[str]) -> Reference:
    """What stands between ``${`` and ``}``. A column of that very name is meant; else what follows it is a format."""
    if inside in names:
        return Reference(inside)
    head, marked, text = inside.partition(":-")
    default = text if marked else None
    if head in names:
        return Reference(head, "", default)
    if modulo := re.fullmatch(r"([^:]+)(%[0-9]+)", head):
        return Reference(modulo[1], modulo[2], default)
    places = [match.start() for match in re.finditer(":.", head)]
    at = max((each for each in places if head[:each] in names), default=next(iter(places), 0))
    return Reference(head[:at], head[at + 1 :], default) if at else Reference(head, "", default)


@lru_cache(maxsize=1024)
def format_of(form: str) -> Format | None:
    """None if there is no such format."""
    if form in ("lower", "upper", "uuid", "uuid_swapped", *UNITS):
        return Format(form, form)
    if match := re.fullmatch(r"0([1-9][0-9]?)d", form):
        return Format("padded", form, int(match[1]))
    if match := re.fullmatch(r"(%|bucket)([1-9][0-9]{0,4})", form):
        return Format("modulo" if match[1] == "%" else "bucket", form, int(match[2]))
    if re.fullmatch(r"([^%]|%[YmdHMSf])*%[YmdHMSf]([^%]|%[YmdHMSf])*", form):
        return Format("time", form)
    return None


def fault(part: Reference, column: Column) -> str:
    """What is wrong with a reference over its column, "" if nothing is."""
    what = f"${{{part.column}}} of column {part.column!r} ({column.kind})"
    if part.default is not None and not part.default:
        return f"{what} has an empty text for NULL: write one, as ${{{part.column}:-none}}"
    if not part.form:
        return ""
    form = format_of(part.form)
    if form is None:
        return (
            f"{what} has the format {part.form!r}, which is not known: it is 010d, %Y-%m-%d (of %Y %m %d %H %M %S %f), "
            f"lower, upper, uuid, uuid_swapped, bucket16, {', '.join(UNITS)}; or %16 without a colon"
        )
    if part.default is not None and "%" in part.default and form.kind == "time":
        return f"{what} has a '%' in the text for NULL, which begins at the first ':-'"
    reason = _misfit(form, column)
    return f"{what} cannot have the format {part.form!r}: {reason}" if reason else ""


def _misfit(form: Format, column: Column) -> str:
    kind = column.kind
    if form.kind in ("padded", "modulo"):
        if kind not in _INTEGERS:
            return "it takes integers" + ("; use bucket" if form.kind == "modulo" else "")
        if form.kind == "padded" and form.number > MAX_WIDTH:
            return f"a number has {MAX_WIDTH} digits at most"
    elif form.kind == "time" or form.kind in UNITS:
        if kind not in _TIMES:
            return f"it takes {', '.join(_TIMES)}"
        if kind == "date" and form.kind == "time" and set(re.findall("%(.)", form.text)) - set("Ymd"):
            return "a date has no hours"
        if form.kind in UNITS and column.scale > UNITS[form.kind].digits:
            return f"it would lose some of the {column.scale} digits after the second"
    elif form.kind in ("lower", "upper"):
        return "" if kind in _LETTERS else f"it takes {', '.join(_LETTERS)}"
    elif form.kind == "bucket":
        return f"it has no text that is the same everywhere: not {kind}" if kind in _NO_STABLE_TEXT else ""
    elif kind != "binary" or column.length != 16:
        return "it takes BINARY(16)"
    if form.kind in ("modulo", "bucket") and form.number > MAX_BUCKETS:
        return f"at most {MAX_BUCKETS}"
    return ""


# --- what is known of the texts beforehand --------------------------------------------------------------------------


def tells(part: Reference, column: Column) -> bool:
    """Whether the text tells the column's value."""
    form = format_of(part.form) if part.form else None
    if form is None:
        return True
    if form.kind == "time":
        needed = _NEEDED[column.kind] + ("f" if column.scale else "")
        return set(needed) <= set(re.findall("%(.)", form.text))
    if form.kind in ("lower", "upper"):
        return column.kind == "uuid"
    return form.kind not in ("modulo", "bucket")


def sorts(part: Reference, column: Column) -> bool:
    """Whether the texts, in order, are the column's values in order, where that is not known from its kind."""
    form = format_of(part.form)
    if form is None or part.default is not None:
        return False
    if form.kind == "time":
        letters = "".join(re.findall("%(.)", form.text))
        return "YmdHMSf".startswith(letters) and tells(part, column)
    return form.kind == "padded" or (form.kind in UNITS and not UNITS[form.kind].reversed)


def exact(part: Reference, column: Column) -> tuple[frozenset[str], ...]:
    """For a text of fixed length, the characters that each place may have; empty if the length varies."""
    found = _exact_of_form(part, column)
    if part.default is None or not found:
        return found
    if len(part.default) != len(found):
        return ()
    return tuple(each | {character} for each, character in zip(found, part.default, strict=True))


def _exact_of_form(part: Reference, column: Column) -> tuple[frozenset[str], ...]:
    form = format_of(part.form) if part.form else None
    kind = form.kind if form else column.kind
    if form and kind == "padded":
        return (_DIGITS,) * form.number
    if kind in UNITS:
        return (_DIGITS,) * UNITS[kind].width
    if kind in ("uuid", "uuid_swapped"):
        return _places(_UUID, CHARACTERS["uuid"] if form is None else _HEXADECIMAL)
    if form and kind == "time":
        pieces = re.findall("%(.)|([^%])", form.text)
        return tuple(
            each
            for letter, literal in pieces
            for each in ((_DIGITS,) * _length(letter) if letter else (frozenset(literal),))
        )
    if form and kind in ("lower", "upper") and column.kind == "uuid":
        return _places(_UUID, CHARACTERS["uuid"])
    if kind in _TIMES:
        width = 10 if kind == "date" else 19 + (column.scale and column.scale + 1)
        return _places(_TIME[:width] + "Z" * (kind == "timestamp"), _DIGITS)
    return ()


def _places(pattern: str, characters: frozenset[str]) -> tuple[frozenset[str], ...]:
    """``0`` in the pattern stands for one of ``characters``, anything else for itself."""
    return tuple(characters if each == "0" else frozenset(each) for each in pattern)


def _length(letter: str) -> int:
    start, end = _PARTS[letter]
    return end - start


def characters(part: Reference, column: Column) -> frozenset[str] | None:
    """All that the text may contain; None for anything."""
    form = format_of(part.form) if part.form else None
    if form and form.kind in ("modulo", "bucket"):
        found: frozenset[str] | None = _DIGITS
    elif places := exact(part._replace(default=None), column):
        found = frozenset().union(*places)
    else:
        found = CHARACTERS.get(column.kind)
    return found if found is None or part.default is None else found | set(part.default)


def most(part: Reference, column: Column) -> int:
    """The most characters that a text column's own text can have; 0 where that is not known."""
    if column.kind != "text" or column.length == 0 or part.form not in ("", "lower", "upper"):
        return 0
    return max(column.length, len(part.default or ""))


def bound(part: Reference, column: Column) -> int | None:
    """The most bytes that the text can take, None if unknown."""
    form = format_of(part.form) if part.form else None
    if places := _exact_of_form(part, column) if form else ():
        found: int | None = len(places) * 4
    else:
        found = 5 if form and form.kind in ("modulo", "bucket") else text_bound(column)
    return found if found is None or part.default is None else max(found, len(part.default.encode()))


# --- a value's text, and back ---------------------------------------------------------------------------------------


def text_function(part: Reference, column: Column) -> Callable[[Value], str]:
    """From the column's value to its text. It raises Refused for a value that the format cannot carry."""
    format_text = _function(part, column)
    default = part.default
    if default is None:
        return format_text
    return lambda value: default if value is None else format_text(value)


def _function(part: Reference, column: Column) -> Callable[[Value], str]:
    form, place = format_of(part.form) if part.form else None, f"column {part.column!r}"
    text = _own_text(column)
    if form is None:
        return text
    if form.kind == "padded":
        return lambda value: _padded(value, form, place)
    if form.kind == "modulo":
        return lambda value: str(_integer(value, place) % form.number)
    if form.kind == "bucket":
        return lambda value: str(bucket(value if isinstance(value, bytes) else text(value).encode(), form.number))
    if form.kind in ("lower", "upper"):
        letters = _LOWER if form.kind == "lower" else _UPPER
        return lambda value: text(value).translate(letters)
    if form.kind == "time":
        pieces = re.findall("%(.)|([^%])", form.text)
        return lambda value: _time_text(str(value), pieces)
    if form.kind in UNITS:
        return lambda value: epoch_text(str(value), UNITS[form.kind], f"{place} with the format {form.text}")
    return lambda value: _uuid_text(value, form.kind, place)


def _own_text(column: Column) -> Callable[[Value], str]:
    if column.kind in ("float", "double"):
        return repr
    if column.kind == "computed":
        return forms.computed_text
    if column.kind == "datetime":
        return lambda value: str(value).replace(" ", "T")
    if column.kind == "timestamp":
        return lambda value: str(value).replace(" ", "T") + "Z"
    return str


def bucket(content: bytes, number: int) -> int:
    """The first four bytes of the SHA-256 of ``content``, as a big-endian number, modulo ``number``."""
    return int.from_bytes(hashlib.sha256(content).digest()[:4], "big") % number


def _padded(value: Value, form: Format, place: str) -> str:
    number = _integer(value, place)
    text = f"{number:0{form.number}d}"
    if number < 0 or len(text) > form.number:
        raise Refused(
            f"{place} is {shown(value)}, which the format {form.text} cannot carry: 0 to {form.number} digits"
        )
    return text


def _integer(value: Value, place: str) -> int:
    if not isinstance(value, int):
        raise Refused(f"{place} is {shown(value)}, and its format takes an integer")
    return value


def _time_text(text: str, pieces: list[tuple[str, str]]) -> str:
    """Of the digits themselves, so that zero and partial dates keep theirs."""
    whole = f"{text:.19}"
    whole += "." + text[20:].ljust(6, "0")
    return "".join(literal or whole[slice(*_PARTS[letter])] for letter, literal in pieces)


def _uuid_text(value: Value, kind: str, place: str) -> str:
    if not isinstance(value, bytes) or len(value) != 16:
        raise Refused(f"{place} is {shown(value)}, which is not a UUID of 16 bytes")
    if kind == "uuid_swapped":  # as UUID_TO_BIN(text, 1) stores it: the last part of the time first
        value = value[4:8] + value[2:4] + value[0:2] + value[8:]
    return str(uuid.UUID(bytes=value))


def readings(part: Reference, column: Column, text: str) -> tuple[dict[str, Value], ...]:
    """What the column may be where it has this text: nothing of it is known, ({},), if the format is lossy; () if no
    value has this text.
    """
    if part.default is not None and text == part.default:
        return ({part.column: None},) if tells(part, column) else ({},)
    form = format_of(part.form) if part.form else None
    if form is None:
        return tuple({part.column: value} for value in values_of_text(column, text))
    if not _may_be(part._replace(default=None), column, text):
        return ()
    if not tells(part, column):
        return ({},)
    return tuple({part.column: value} for value in _values(form, column, text))


def _may_be(part: Reference, column: Column, text: str) -> bool:
    places, known = exact(part, column), characters(part, column)
    if places:
        return len(places) == len(text) and all(one in each for one, each in zip(text, places, strict=True))
    return known is None or known.issuperset(text)


def _values(form: Format, column: Column, text: str) -> tuple[Value, ...]:
    if form.kind == "padded":
        return (int(text),)
    if form.kind in UNITS:
        return time_of_epoch(text, UNITS[form.kind], column)
    if form.kind == "time":
        return _time_of_text(form, column, text)
    if form.kind in ("lower", "upper"):
        return values_of_text(column, text.lower())
    try:
        value = uuid.UUID(text).bytes
    except ValueError:
        return ()
    if form.kind == "uuid_swapped":
        value = value[6:8] + value[4:6] + value[0:4] + value[8:]
    return (value,) if _uuid_text(value, form.kind, "") == text else ()


def _time_of_text(form: Format, column: Column, text: str) -> tuple[Value, ...]:
    found, at = dict[str, str](), 0
    for letter, _ in re.findall("%(.)|([^%])", form.text):
        end = at + (_length(letter) if letter else 1)
        if letter and found.setdefault(letter, text[at:end]) != text[at:end]:
            return ()
        at = end
    whole = "{Y}-{m}-{d}".format(**found)
    if column.kind != "date":
        whole += " {H}:{M}:{S}".format(**found)
    if column.scale:
        whole += "." + found["f"][: column.scale]
    return (whole,) if not found.get("f", "")[column.scale :].strip("0") else ()


def shown_in_python(part: Reference, name: str = "") -> str:
    """As it would stand in an f-string of the application; ``name`` is its variable's."""
    form, name = format_of(part.form) if part.form else None, name or part.column
    if form is None:
        return name
    if form.kind in ("padded", "time"):
        return f"{name}:{form.text}"
    return f"{name} % {form.number}" if form.kind == "modulo" else f"{form.kind}({name}{_argument(form)})"


def _argument(form: Format) -> str:
    return f", {form.number}" if form.number else ""
