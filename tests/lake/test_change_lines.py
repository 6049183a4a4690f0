"""Changes that are read many at once: what is taken is what every line says when it is read alone."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lake.helper import change, compact, full, write_export
from tests.lake.test_hostile_lines import BAD
from tests.lake.test_quick_ways import PUT_IN
from whimbrel.lake import parquet_parts, sources
from whimbrel.lake.change_lines import is_readable, rows_of
from whimbrel.lake.convert import ConvertRules, from_exports
from whimbrel.lake.fast import Attribute
from whimbrel.lake.native import find_exports
from whimbrel.lake.sources import SourceFile
from whimbrel.records import Item

PLAN = tuple(Attribute(*each) for each in (("k", "S"), ("n", "N"), ("b", "B"), ("a.b", "S"), ("é", "BOOL")))
KINDS = {"S": "string", "N": "number", "B": "binary", "BOOL": "bool"}
SOURCE = SourceFile(Path("changes"), "incremental")
TEXTS = st.text(st.sampled_from("a:{},[é😀0"), max_size=5).map(lambda text: {"S": text})
KEYS = TEXTS.map(lambda text: {"k": text})
ITEMS = st.fixed_dictionaries(
    {},
    optional={
        "n": st.integers(-99, 10**17).map(lambda number: {"N": str(number)}),
        "b": st.binary(max_size=4).map(lambda value: {"B": base64.b64encode(value).decode()}),
        "a.b": TEXTS,
        "é": st.booleans().map(lambda value: {"BOOL": value}),
    },
)
LINES = st.tuples(KEYS, st.none() | ITEMS, st.none() | ITEMS).map(lambda each: compact(change(*each)))
STRANGE = st.sampled_from(
    [b"null", b'"c":{"S":"x"},', b'"n":{"NULL":true},', b'"k":{"S":"x"},', b"}\n{", b",\n", b"\r"]
)


def read(lines: list[bytes]) -> list[tuple[bool, dict[str, str | None]]] | None:
    found = rows_of(lines, PLAN, ("k",))
    return found and list(zip(found[1], found[0].to_pylist(), strict=True))


def as_texts(item: Item) -> dict[str, str | None]:
    shown = {name: next(iter(value.values())) for name, value in item.items()}
    return {
        name: str(shown[name]).lower() if tag == "BOOL" and name in shown else shown.get(name) for name, tag in PLAN
    }


def alone(line: bytes, number: int) -> tuple[bool, dict[str, str | None]] | None:
    found = sources.checked(SOURCE, number, line).record
    return found and (found.item is None, as_texts(found.keys or {} if found.item is None else found.item))


@given(st.lists(LINES.filter(lambda line: b'"k":{"S":""}' not in line), min_size=1, max_size=5))
def test_changes_of_scalars_are_read_at_once(lines: list[bytes]) -> None:
    assert read(lines) == [alone(*each) for each in zip(lines, range(9), strict=False)]


@given(st.lists(LINES, min_size=1, max_size=4), st.integers(0, 400), PUT_IN | STRANGE, st.integers(0, 9))
def test_what_is_taken_is_what_each_line_says_alone(lines: list[bytes], at: int, with_: bytes, without: int) -> None:
    """Whatever is put between the bytes of the lines, or instead of some: line ends, too."""
    text = b"\n".join(lines)
    at %= len(text)
    changed = (text[:at] + with_ + text[at + without :]).split(b"\n")
    if taken := read(changed):
        assert taken == [alone(*each) for each in zip(changed, range(99), strict=False)]


HEAD = b'{"Metadata":{"WriteTimestampMicros":{"N":"1"}},"Keys":{"k":{"S":"1"}}'
GOOD = HEAD + b',"NewImage":{"k":{"S":"1"},"n":{"N":"1"}}}'
REFUSED = {
    "a name twice": HEAD + b',"NewImage":{"k":{"S":"1"},"n":{"N":"1"},"n":{"N":"2"}}}',
    "an image twice": HEAD + b',"NewImage":{"k":{"S":"2"}},"NewImage":{"k":{"S":"1"}}}',
    "another key": HEAD + b',"NewImage":{"k":{"S":"2"}}}',
    "no key in the image": HEAD + b',"NewImage":{"n":{"N":"2"}}}',
    "no image but null": HEAD + b',"NewImage":null}',
    "a part more": HEAD + b',"More":1}',
    "a number that is none": HEAD + b',"NewImage":{"k":{"S":"1"},"n":{"N":"x"}}}',
    "an old image that is none": HEAD + b',"OldImage":{"k":{"S":"1"},"n":{"N":"x"}}}',
    "no base64 in it": HEAD + b',"OldImage":{"k":{"S":"1"},"b":{"B":"x"}}}',
    "an empty old image": HEAD + b',"OldImage":{}}',
    "two in a line": GOOD + GOOD,
    "a blank": GOOD.replace(b":", b": ", 1),
    "an escape": GOOD.replace(b'"1"}}}', b'"\\u0031"}}}'),
    "an empty line": b"",
    "no time": GOOD.replace(b'{"N":"1"}}', b'{"N":"x"}}', 1),
    "no metadata": GOOD.replace(b'"Metadata":{"WriteTimestampMicros":{"N":"1"}},', b""),
    "no part Keys": GOOD.replace(b'"Keys":{"k":{"S":"1"}},', b""),
    "no keys": GOOD.replace(b'"k":{"S":"1"}', b"", 1),
    "a key more": GOOD.replace(b'"Keys":{', b'"Keys":{"n":{"N":"1"},', 1),
    "NULL": GOOD.replace(b'"N":"1"}}}', b'"NULL":true}}}'),
    "no UTF-8": GOOD.replace(b'"S":"1"', b'"S":"\xff"'),
    "too long": GOOD.replace(b'"S":"1"', b'"S":"%b"' % (b"1" * (5 << 20))),
}


def test_other_lines_are_not_read_at_once() -> None:
    assert read([GOOD, GOOD]) == [alone(GOOD, 1)] * 2
    assert {case for case, line in REFUSED.items() if read([line]) or read([GOOD, line, GOOD])} == set()
    # A document in two lines, and two in another one.
    assert read([GOOD[:60], GOOD[60:], GOOD + GOOD]) is None
    # Short by as much as another one is long.
    assert read([GOOD.replace(b'"N":"1"}}}', b'"NULL":true}}}'), GOOD.replace(b":", b":   ")]) is None


def test_what_has_no_scalars_alone_is_not_readable() -> None:
    assert is_readable(PLAN, ("k",))
    assert not is_readable((*PLAN, Attribute("m", "")), ("k",))
    assert not is_readable((*PLAN, Attribute("m", "M")), ("k",))
    assert not is_readable(PLAN, ())
    assert not is_readable(PLAN, ("other",))


def test_both_ways_make_the_same_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks that are read at once and others; a column more and a wider type in the midst, and every bad item."""
    numbers = [{"n": {"N": str(n)}} if n < 60 else {"n": {"N": f"{n}.5"}, "s": {"S": "é"}} for n in range(99)]
    lines = [
        compact(change({"pk": {"S": f"{n:03}"}}, new if n != 80 else None, {"n": {"N": "1"}} if n % 2 else None))
        for n, new in enumerate(numbers)
    ]
    deletion = compact(change({"pk": {"S": "1"}}, None))[:-1]
    lines += [deletion + b',"NewImage":' + line + b"}" for line, _ in BAD.values() if line]
    taken = list[bool]()

    def noted(*arguments: Any) -> Any:
        found = rows_of(*arguments)
        taken.append(found is not None)
        return found

    monkeypatch.setattr(parquet_parts, "_CHANGED_AT_ONCE", 2_000)
    monkeypatch.setattr(parquet_parts, "rows_of", noted)
    at_once = converted(tmp_path / "a", lines)
    monkeypatch.setattr(parquet_parts, "rows_of", lambda *_: None)
    assert at_once == converted(tmp_path / "b", lines)
    assert taken[:3] == [True] * 3
    assert taken[-1] is False
    assert at_once[0] == 98


def converted(place: Path, lines: list[bytes]) -> tuple[int, Any, Any, Any]:
    """How many rows the data set has, its columns, what was refused, and the rows of the delta."""
    start, end = "2026-01-01T00:00:00.000Z", "2026-01-02T00:00:00.000Z"
    write_export(place, "01-0", start, [full(pk={"S": "000"}, n={"N": "5"}, b={"BOOL": True})])
    write_export(place, "02-0", end, lines, start, files=1, write=lambda line: line)
    done = from_exports(place / "lake", ConvertRules("shop", "shop", ("pk",)), find_exports(place))
    assert done
    manifest = done.manifest
    deltas = [pq.read_table(place / "lake" / "datasets" / "shop" / each.path).to_pylist() for each in manifest.deltas]
    refused = sorted((each.line, each.reason) for each in done.refused)
    return manifest.rows, manifest.schema, (manifest.refused, refused), [row for each in deltas for row in each]
