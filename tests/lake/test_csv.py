"""CSV with a header, read exactly or named."""

from __future__ import annotations

import csv
import io
import json
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.lake.helper import converted, rows, scan_text
from whimbrel.cli.main import main
from whimbrel.errors import StateError, UserError
from whimbrel.lake import datasets
from whimbrel.lake.convert import Converted, ConvertRules
from whimbrel.lake.csvfile import write_csv
from whimbrel.lake.restore import files_of
from whimbrel.lake.sources import find
from whimbrel.lake.types import parse_type


def from_csv(tmp_path: Path, text: str, **pinned: str) -> Converted:
    (tmp_path / "t.csv").write_text(text, encoding="utf-8", newline="")
    types = {name: parse_type(kind) for name, kind in pinned.items()}
    return converted(tmp_path, tmp_path / "t.csv", ConvertRules("t", "t", ("pk",), pinned=types))


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1", "-2", "0"], "int64"),
        (["1", "", "3"], "int64"),
        (["1.5", "20", "-0.25"], "decimal(18,2)"),
        (["1.50", "2.00", "10.25"], "decimal(18,2)"),
        (["1.10", "1.9"], "string"),
        (["01234", "5"], "string"),
        (["+49", "5"], "string"),
        (["1e5", "5"], "string"),
        (["-0", "5"], "string"),
        (["-0.0", "5.0"], "string"),
        ([" 1", "5"], "string"),
        (["1.", "5"], "string"),
        ([".5", "5"], "string"),
        (["1,5", "5"], "string"),
        (["NaN", "1"], "string"),
        (["9" * 38, "1"], "decimal(38,0)"),
        (["9" * 39, "1"], "string"),
        (["true", "false"], "bool"),
        (["True", "false"], "string"),
        (["true", "1"], "string"),
        (["2026-01-01", ""], "string"),
        (["1", '""'], "string"),
        (["\u0661", "1"], "string"),
    ],
)
def test_types_of_csv_follow_from_all_cells(tmp_path: Path, cells: list[str], kind: str) -> None:
    """And every cell can be written again from its value."""
    text = "pk,x\n" + "".join(
        f"k{number},{cell if ',' not in cell else json.dumps(cell)}\n" for number, cell in enumerate(cells)
    )
    done = from_csv(tmp_path, text)
    assert str(done.types["x"]) == kind
    assert done.refusals == 0
    for row, cell in zip(rows(tmp_path), cells, strict=True):
        value = row["x"]
        if cell == "":
            assert value is None
        elif cell == '""':
            assert value == ""
        elif kind == "bool":
            assert value is (cell == "true")
        elif kind == "string":
            assert value == cell
        else:
            assert Decimal(value) == Decimal(cell)


def test_csv_as_rfc_4180_has_it(tmp_path: Path) -> None:
    text = '\ufeffpk,"a ""b"", c",z\r\n1,"two\r\nlines, ""quoted""",x\r\n2,,""\r\n\r\n3,"é☃",last'
    done = from_csv(tmp_path, text)
    assert done.refusals == 0
    name = 'a "b", c'
    assert rows(tmp_path) == [
        {"pk": 1, name: 'two\r\nlines, "quoted"', "z": "x"},
        {"pk": 2, name: None, "z": ""},
        {"pk": 3, name: "é☃", "z": "last"},
    ]


def test_bad_rows_of_csv_are_set_aside_with_their_lines(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b'pk,x\n1,a\n2\n3,b,c\n4,a"b"c\n5,"a"b\n6,\xff\n"7\n8",x"y\n9",z\n10,end\n')
    done = converted(tmp_path, tmp_path / "t.csv")
    assert [each.line for each in done.refused] == [3, 4, 5, 6, 7, 8]
    assert "lines 8 to 10" in done.refused[-1].reason
    assert [row["pk"] for row in rows(tmp_path)] == [1, 10]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("\npk\n1\n", "empty"),
        ("pk,pk\n1,2\n", "appears twice"),
        ("pk,\n1,2\n", "no name"),
        ("pk;x\n1;2\n", "separated by ';'"),
        ("pk\tx\n1\t2\n", "separated by"),
        ('pk,"x\n1,2\n', "not closed"),
        ('pk,x\n1,"2\n3,4\n', "line 2"),
        ("pk,x\r1,2\r", "carriage return"),
    ],
)
def test_csv_that_cannot_be_read_is_named(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises((UserError, StateError), match=reason):
        from_csv(tmp_path, text)


def test_pinned_types_rule_and_nothing_is_coerced(tmp_path: Path) -> None:
    text = 'pk,zip,n,flag,b,j\n1,01234,1e2,true,AAEC,"{""L"":[{""N"":""1""}]}"\n'
    bad = ["2,x,007,,,", "3,x,+1,,,", "4,x, 1,,,", '5,x,"",,,', "6,x,,True,,", "7,x,,,A,", "8,x,,,,[1]", "9,x,1.5,,,"]
    pinned = {"pk": "string", "zip": "string", "n": "int64", "flag": "bool", "b": "binary", "j": "list<int64>"}
    done = from_csv(tmp_path, text + "\n".join(bad) + "\n10,x,1,,,\n", **pinned)
    assert done.refusals == len(bad)
    assert [row["pk"] for row in rows(tmp_path)] == ["1", "10"]
    assert rows(tmp_path)[0] == {"pk": "1", "zip": "01234", "n": 100, "flag": True, "b": b"\0\1\2", "j": [1]}


def test_several_csv_files_have_one_type_for_a_name(tmp_path: Path) -> None:
    folder = tmp_path / "csv"
    folder.mkdir()
    (folder / "a.csv").write_text("pk,x\n1,5\n")
    (folder / "b.csv").write_text("x,pk,y\n05,2,true\n")
    done = converted(tmp_path, folder)
    assert {name: str(kind) for name, kind in done.types.items()} == {"pk": "int64", "x": "string", "y": "bool"}
    assert rows(tmp_path) == [{"pk": 1, "x": "5", "y": None}, {"pk": 2, "x": "05", "y": True}]


CELLS = st.one_of(
    st.none(),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=6),
    st.sampled_from(["1", "1.5", "1.50", "true", "007", "-3", "a,b", '"', "\n", "\r\n", "\r", ""]),
)


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=6))
def test_any_csv_of_pythons_writer_comes_back_sign_by_sign(tmp_path: Path, cells: list[tuple[str | None, ...]]) -> None:
    """The judge writes: Python's csv with quotes where they are needed; an empty text always has them."""
    out = io.StringIO(newline="")
    out.write("pk,a,b\n")
    for number, (one, two) in enumerate(cells):
        line = io.StringIO(newline="")
        writer = csv.writer(line, lineterminator="\r\n")
        writer.writerow([f"k{number}", "<none>" if one is None else one, "<none>" if two is None else two])
        text = line.getvalue()
        for empty in (one, two):
            if empty == "":
                text = text.replace(",,", ',"",', 1) if ",," in text else text[:-2] + '""\r\n'
        out.write(text.replace("<none>", ""))
    from_csv(tmp_path, out.getvalue())
    for row, (one, two) in zip(rows(tmp_path), cells, strict=True):
        for found, cell in ((row.get("a"), one), (row.get("b"), two)):
            if isinstance(found, bool):
                assert str(found).lower() == cell
            elif isinstance(found, int | Decimal):
                assert cell is not None
                assert Decimal(found) == Decimal(cell)
            else:
                assert found == cell


def test_our_own_csv_comes_back(tmp_path: Path) -> None:
    from_csv(tmp_path, 'pk,n,s,e,t\n1,1.50,"a,""b""\n",,true\n2,2.25,x,"",false\n')
    before, manifest = rows(tmp_path), datasets.current(tmp_path / "lake", "t")
    write_csv(tmp_path / "lake", manifest, tmp_path / "out.csv", manifest.columns, header=True)
    converted(tmp_path, tmp_path / "out.csv")
    assert rows(tmp_path) == before


def test_csv_is_not_restored(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("pk\n1\n")
    with pytest.raises(UserError, match="does not say which type"):
        files_of((), find(tmp_path / "t.csv").files)


def test_the_commands_take_them(tmp_path: Path) -> None:
    project = tmp_path / "whimbrel.toml"
    project.write_text('[target]\nendpoint = "http://127.0.0.1:1"\n')
    (tmp_path / "scan.json").write_text(scan_text([{"pk": {"S": "1"}}]))
    (tmp_path / "t.csv").write_text("pk\na\n")
    (tmp_path / "t.ion").write_text('$ion_1_0 {Item:{pk:"i"}}\n')
    for file, key in (("scan.json", "1"), ("t.csv", "a"), ("t.ion", "i")):
        assert run(project, "convert", "t", "--from", str(tmp_path / file)).exit_code == 0
        assert run(project, "query", "-f", "csv", "SELECT pk FROM t").output.split() == ["pk", key]


def run(project: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, [arguments[0], "-p", str(project), *arguments[1:]], catch_exceptions=False)
