"""What people really have: the AWS CLI's output, CSV, and exports in Amazon Ion, each read exactly or named."""

from __future__ import annotations

import base64
import csv
import io
import json
import shutil
import subprocess
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from demo.servers import DynamoServer
from tests.lake.helper import change, compact, items, write_export
from tests.lake.test_roundtrip import check_rows
from whimbrel.cli.main import main
from whimbrel.errors import StateError, UserError
from whimbrel.lake import datasets, sources
from whimbrel.lake.convert import Converted, Rules, from_exports, from_files
from whimbrel.lake.csvfile import write_csv
from whimbrel.lake.native import find_exports
from whimbrel.lake.restore import files_of
from whimbrel.lake.sources import find
from whimbrel.lake.types import parse_type

RULES = Rules("t", "t", ("pk",))
ITEMS: dict[str, dict[str, Any]] = {
    "1": {
        "pk": {"S": "1"},
        "text": {"S": 'quote " brace } bracket ] \\ tab\t line\n snow ☃ 𝄞 \x7f'},
        "n": {"N": "-12345678901234567890.123456789012345678"},
        "b": {"B": "AAEC/w=="},
        "yes": {"BOOL": False},
        "nothing": {"NULL": True},
        "m": {"M": {"empty": {"S": ""}, "a.b": {"L": [{"N": "1"}, {"M": {"x": {"S": "}"}}}]}}},
        "l": {"L": []},
        "ss": {"SS": ["a", "ä"]},
        "ns": {"NS": ["1", "2.5"]},
        "bs": {"BS": ["AAEC"]},
    },
    "2": {"pk": {"S": "2"}, "n": {"N": "6E+2"}},
    "3": {"pk": {"S": "3"}, "Items": {"L": [{"S": "["}]}, "Count": {"N": "7"}},
}


def converted(tmp_path: Path, file: Path, rules: Rules = RULES) -> Converted:
    return from_files(tmp_path / "lake", rules, find(file).files)


def rows(tmp_path: Path) -> list[dict[str, Any]]:
    lake = tmp_path / "lake"
    found: list[dict[str, Any]] = datasets.arrow(lake, datasets.current(lake, "t")).to_pylist()
    return found


@pytest.fixture(scope="module")
def table(ministack: DynamoServer) -> tuple[Callable[..., bytes], str]:
    """A table with 300 items in it, and the AWS CLI to ask for them."""
    client, name = ministack.client(), "formats"
    client.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    command = shutil.which("aws")
    if command is None:
        pytest.skip("the AWS CLI is not installed")

    def aws(verb: str, *arguments: str) -> bytes:
        run = [command, "dynamodb", verb, "--endpoint-url", ministack.endpoint, "--table-name", name, *arguments]
        return subprocess.run(run, capture_output=True, check=True, timeout=120).stdout

    for item in ITEMS.values():
        client.put_item(TableName=name, Item=as_boto3(item))
    for number in range(10, 250):
        client.put_item(TableName=name, Item={"pk": {"S": str(number)}, "n": {"N": str(number)}})
    return aws, name


def as_boto3(value: Any) -> Any:
    """boto3 takes bytes where the JSON has base64."""
    if isinstance(value, dict):
        decoded = {"B": base64.b64decode, "BS": lambda each: [base64.b64decode(one) for one in each]}
        return {name: decoded.get(name, as_boto3)(each) for name, each in value.items()}
    return [as_boto3(each) for each in value] if isinstance(value, list) else value


def wanted() -> dict[str, dict[str, Any]]:
    more = {str(number): {"pk": {"S": str(number)}, "n": {"N": str(number)}} for number in range(10, 250)}
    return {**ITEMS, **more}


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        pytest.param(["--output", "json"], marks=pytest.mark.slow),
        pytest.param(["--page-size", "7"], marks=pytest.mark.slow),
        ["--query", "Items"],
        pytest.param(["--query", "Items[]", "--output", "json"], marks=pytest.mark.slow),
        ["--consistent-read", "--return-consumed-capacity", "TOTAL"],
    ],
    ids=" ".join,
)
def test_the_output_of_a_scan(tmp_path: Path, table: tuple[Any, str], arguments: list[str]) -> None:
    aws, _ = table
    (tmp_path / "scan.json").write_bytes(aws("scan", *arguments))
    done = converted(tmp_path, tmp_path / "scan.json")
    assert (done.refusals, done.new_rows) == (0, 243)
    check_rows(tmp_path / "lake", "t", wanted())


@pytest.mark.slow
def test_pages_and_segments_behind_one_another(tmp_path: Path, table: tuple[Any, str]) -> None:
    """As a loop in a shell writes them: page by page without the CLI's own paging, and in two segments."""
    aws, _ = table
    pages, start = [], []
    while True:
        page = aws("scan", "--no-paginate", "--limit", "100", *start)
        pages.append(page)
        last = json.loads(page).get("LastEvaluatedKey")
        if not last:
            break
        start = ["--exclusive-start-key", json.dumps(last)]
    assert len(pages) == 3
    (tmp_path / "pages.json").write_bytes(b"".join(pages))
    assert converted(tmp_path, tmp_path / "pages.json").refusals == 0
    check_rows(tmp_path / "lake", "t", wanted())
    for number, page in enumerate(pages):
        (tmp_path / f"folder-{number}").mkdir()
        (tmp_path / "folder-0" / f"page-{number}").write_bytes(page)
    converted(tmp_path, tmp_path / "folder-0")
    check_rows(tmp_path / "lake", "t", wanted())
    cut = aws("scan", "--max-items", "100", "--page-size", "70")
    rest = aws("scan", "--page-size", "70", "--starting-token", json.loads(cut)["NextToken"])
    (tmp_path / "cut.json").write_bytes(cut + rest)
    converted(tmp_path, tmp_path / "cut.json")
    check_rows(tmp_path / "lake", "t", wanted())
    segments = [aws("scan", "--segment", str(number), "--total-segments", "2") for number in range(2)]
    (tmp_path / "segments.json").write_bytes(b"\n".join(segments))
    converted(tmp_path, tmp_path / "segments.json")
    check_rows(tmp_path / "lake", "t", wanted())


@pytest.mark.parametrize("arguments", [["--max-items", "100"], ["--no-paginate", "--limit", "100"]], ids=" ".join)
def test_a_scan_that_was_cut_off_is_not_a_table(tmp_path: Path, table: tuple[Any, str], arguments: list[str]) -> None:
    aws, _ = table
    (tmp_path / "scan.json").write_bytes(aws("scan", *arguments))
    with pytest.raises(UserError, match="ends before the table does"):
        converted(tmp_path, tmp_path / "scan.json")


def test_the_output_of_a_query(tmp_path: Path, table: tuple[Any, str]) -> None:
    aws, _ = table
    condition = ["--key-condition-expression", "pk = :pk", "--expression-attribute-values", '{":pk": {"S": "1"}}']
    (tmp_path / "query.json").write_bytes(aws("query", *condition))
    assert converted(tmp_path, tmp_path / "query.json").refusals == 0
    check_rows(tmp_path / "lake", "t", {"1": ITEMS["1"]})


def test_an_empty_table_is_said_to_be_empty(tmp_path: Path, table: tuple[Any, str]) -> None:
    aws, _ = table
    where = ["--filter-expression", "pk = :pk", "--expression-attribute-values", '{":pk": {"S": "none"}}']
    (tmp_path / "scan.json").write_bytes(aws("scan", *where))
    with pytest.raises(UserError, match="there is no item"):
        converted(tmp_path, tmp_path / "scan.json")


@pytest.mark.parametrize("kind", ["text", "table", "yaml"])
def test_other_output_is_named(tmp_path: Path, table: tuple[Any, str], kind: str) -> None:
    aws, _ = table
    try:
        (tmp_path / "scan").write_bytes(aws("scan", "--output", kind))
    except subprocess.CalledProcessError:
        pytest.skip("this AWS CLI has no such output")
    with pytest.raises(UserError, match="lines were set aside"):
        converted(tmp_path, tmp_path / "scan")


def scan_text(found: list[Any], **more: Any) -> str:
    return json.dumps({"Items": found, "Count": len(found), "ScannedCount": len(found)} | more, indent=4)


def test_a_bad_item_of_a_scan_is_set_aside_with_its_line(tmp_path: Path) -> None:
    good = {"pk": {"S": "1"}}
    text = scan_text([good, {"pk": {"S": "2"}, "n": {"N": "x"}}, good | {"x": "raw"}, {"pk": {"S": "4"}}])
    lines = text.splitlines()
    (tmp_path / "scan.json").write_text(text)
    done = converted(tmp_path, tmp_path / "scan.json")
    assert [lines[each.line].strip() for each in done.refused] == ['"pk": {', '"pk": {']
    assert len({each.line for each in done.refused}) == 2
    assert [row["pk"] for row in rows(tmp_path)] == ["1", "4"]


DAMAGED_SCANS = {
    "cut off": (scan_text([{"pk": {"S": "1"}}] * 3)[:-30], "ends within|belongs"),
    "cut off in an item": (scan_text([{"pk": {"S": "1"}}] * 3)[:100], "ends within"),
    "count": (scan_text([{"pk": {"S": "1"}}], Count=2), "Count is 2"),
    "count of another kind": (scan_text([{"pk": {"S": "1"}}], Count="1"), "Count is '1'"),
    "another name": (scan_text([{"pk": {"S": "1"}}], Responses={}), "'Responses'"),
    "no items": ('{"Count": 2, "ScannedCount": 2}', "without Items"),
    "twice": ('{"Items": [], "Items": []}', "twice"),
    "garbage behind": (scan_text([{"pk": {"S": "1"}}]) + "garbage", "belongs"),
    "an item behind": (scan_text([{"pk": {"S": "1"}}]) + '{"pk": {"S": "1"}}', "'pk'"),
    "no comma": ('{"Items": [{"pk": {"S": "1"}} {"pk": {"S": "2"}}]}', "belongs"),
}


@pytest.mark.parametrize("case", DAMAGED_SCANS)
def test_a_damaged_scan_is_named(tmp_path: Path, case: str) -> None:
    text, reason = DAMAGED_SCANS[case]
    (tmp_path / "scan.json").write_text(text)
    with pytest.raises(StateError, match=reason):
        converted(tmp_path, tmp_path / "scan.json")


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(items, max_size=5), st.sampled_from([None, 1, 4]), st.integers(1, 40), st.booleans())
def test_any_scan_is_cut_into_its_items(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    found: list[dict[str, Any]],
    indent: int | None,
    block: int,
    raw: bool,
) -> None:
    """However the text falls into blocks: between the signs of an escape, too."""
    from whimbrel.lake import pages

    monkeypatch.setattr(pages, "_BLOCK", block)
    text = json.dumps({"Items": found, "Count": len(found)}, indent=indent, ensure_ascii=raw)
    (tmp_path / "scan.json").write_text(text * 2, encoding="utf-8")
    pages.check([tmp_path / "scan.json"])
    assert [json.loads(each.text) for each in pages.read(tmp_path / "scan.json")] == found * 2


# --- CSV ---


def from_csv(tmp_path: Path, text: str, **pinned: str) -> Converted:
    (tmp_path / "t.csv").write_text(text, encoding="utf-8", newline="")
    types = {name: parse_type(kind) for name, kind in pinned.items()}
    return converted(tmp_path, tmp_path / "t.csv", Rules("t", "t", ("pk",), pinned=types))


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
        ("pk,pk\n1,2\n", "named twice"),
        ("pk,\n1,2\n", "no name"),
        ("pk;x\n1;2\n", "separated by ';'"),
        ("pk\tx\n1\t2\n", "separated by"),
        ('pk,"x\n1,2\n', "never closed"),
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


# --- Ion ---


def ion_text(value: dict[str, Any]) -> str:
    """A DynamoDB value as the developer guide writes it in Ion, by rules of this test's own."""
    ((tag, content),) = value.items()
    match tag:
        case "S":
            return json.dumps(content)
        case "N":
            sign, digits, exponent = Decimal(content).as_tuple()
            return f"{'-' * sign}{''.join(map(str, digits))}" + (f"d{exponent}" if exponent else ".")
        case "B":
            return "{{" + content + "}}"
        case "BOOL":
            return str(content).lower()
        case "NULL":
            return "null"
        case "L":
            return f"[{','.join(map(ion_text, content))}]"
        case "M":
            return ion_struct(content)
        case _:
            return f"$dynamodb_{tag}::[{','.join(ion_text({tag[0]: each}) for each in content)}]"


def ion_struct(item: dict[str, Any]) -> str:
    return "{" + ",".join(f"{json.dumps(name)}:{ion_text(value)}" for name, value in item.items()) + "}"


GUIDE = (
    '$ion_1_0 {Item:{Authors:$dynamodb_SS::["Author1","Author2"],Dimensions:"8.5 x 11.0 x 1.5",ISBN:"333-3333333333",'
    'Id:103.,InPublication:false,PageCount:6d2,Price:2d3,ProductCategory:"Book",Title:"Book 103 Title"}}\n'
)


def test_the_example_of_the_developer_guide(tmp_path: Path) -> None:
    (tmp_path / "data.ion").write_text(GUIDE)
    assert converted(tmp_path, tmp_path / "data.ion", Rules("t", "t", ("Id",))).refusals == 0
    assert rows(tmp_path) == [
        {
            "Authors": ["Author1", "Author2"],
            "Dimensions": "8.5 x 11.0 x 1.5",
            "ISBN": "333-3333333333",
            "Id": 103,
            "InPublication": False,
            "PageCount": 600,
            "Price": 2000,
            "ProductCategory": "Book",
            "Title": "Book 103 Title",
        }
    ]


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(items, min_size=1, max_size=5))
def test_any_item_in_ion_is_the_item(tmp_path: Path, made: list[dict[str, Any]]) -> None:
    every = {str(number): item | {"pk": {"S": str(number)}} for number, item in enumerate(made)}
    text = "".join(f"$ion_1_0 {{Item:{ion_struct(item)}}}\n" for item in every.values())
    (tmp_path / "data.ion").write_text(text, encoding="utf-8")
    (source,) = find(tmp_path / "data.ion").files
    found = [line.record.item if line.record else line.fault for line in sources.read(source)]
    assert [plain(item) for item in found] == [plain(item) for item in every.values()]


def plain(item: Any) -> Any:
    """Numbers by their value: Ion writes them in its own way."""
    if isinstance(item, dict):
        if item.keys() == {"N"}:
            return {"N": Decimal(item["N"])}
        if item.keys() == {"NS"}:
            return {"NS": [Decimal(each) for each in item["NS"]]}
        return {name: plain(value) for name, value in item.items()}
    return [plain(each) for each in item] if isinstance(item, list) else item


def test_a_chain_of_exports_in_ion(tmp_path: Path) -> None:
    """The same exports in JSON and in Ion give the same rows; what they say of themselves is the same, too."""
    first = [{"Item": item} for item in ITEMS.values()]
    later = [change({"pk": {"S": "1"}}, {"n": {"N": "5"}}, {}), change({"pk": {"S": "2"}}, None, {})]
    times = ("2026-01-14T12:00:00.000Z", "2026-01-14T13:00:00.000Z")
    found = []
    for form in ("json", "ion"):
        root, lake = tmp_path / form, tmp_path / f"lake-{form}"
        write = as_ion if form == "ion" else compact
        write_export(root, "01768385000000-00000000", times[0], first, form=form, write=write)
        write_export(root, "01768388600000-00000001", times[1], later, since=times[0], form=form, write=write)
        done = from_exports(lake, RULES, find_exports(root))
        assert done is not None
        assert done.refusals == 0
        found.append(sorted(datasets.arrow(lake, done.manifest).to_pylist(), key=str))
    assert found[0] == found[1]
    assert [row["pk"] for row in found[0]] == ["1", "3"]


def as_ion(line: dict[str, Any]) -> bytes:
    parts = []
    for name, content in line.items():
        if name == "Metadata":
            parts.append(f"Metadata:{{WriteTimestampMicros:{content['WriteTimestampMicros']['N']}.}}")
        else:
            parts.append(f"{name}:{ion_struct(content)}")
    return f"$ion_1_0 {{{','.join(parts)}}}".encode()


BAD_ION = {
    "symbol": "$ion_1_0 {Item:{pk:foo}}",
    "annotated": '$ion_1_0 {Item:{pk:foo::"x"}}',
    "a set of nothing": '$ion_1_0 {Item:{pk:$dynamodb_SS::"x"}}',
    "another set": '$ion_1_0 {Item:{pk:$dynamodb_LS::["x"]}}',
    "a set of numbers with a text": '$ion_1_0 {Item:{pk:$dynamodb_NS::[1.,"x"]}}',
    "float": "$ion_1_0 {Item:{pk:1e0}}",
    "nan": "$ion_1_0 {Item:{pk:nan}}",
    "timestamp": "$ion_1_0 {Item:{pk:2020-01-01T}}",
    "clob": '$ion_1_0 {Item:{pk:{{"abc"}}}}',
    "sexp": "$ion_1_0 {Item:{pk:(1 2)}}",
    "typed null": "$ion_1_0 {Item:{pk:null.string}}",
    "a name twice": '$ion_1_0 {Item:{pk:"1",pk:"2"}}',
    "a part twice": '$ion_1_0 {Item:{pk:"1"},Item:{pk:"2"}}',
    "huge number": "$ion_1_0 {Item:{pk:1d999999999}}",
    "huge number in range of Ion": "$ion_1_0 {Item:{pk:1d5000}}",
    "39 digits": "$ion_1_0 {Item:{pk:" + "1" * 39 + ".}}",
    "two values": '$ion_1_0 {Item:{pk:"1"}} {Item:{pk:"2"}}',
    "no value": "$ion_1_0",
    "cut off": '$ion_1_0 {Item:{pk:"1"',
    "more than an item": '$ion_1_0 {Item:{pk:"1"},More:1}',
    "a text": '$ion_1_0 "x"',
    "an item that is a list": "$ion_1_0 {Item:[]}",
    "deep": "$ion_1_0 {Item:{pk:" + "[" * 100_000 + "]" * 100_000 + "}}",
    "40 levels": "$ion_1_0 {Item:{pk:" + "[" * 40 + "]" * 40 + "}}",
    "surrogate": '$ion_1_0 {Item:{pk:"\\ud800"}}',
    "JSON": '{"Item":{"pk":{"S":"1"}}} ,',
}


def test_bad_lines_of_ion_are_set_aside(tmp_path: Path) -> None:
    good = '$ion_1_0 {Item:{pk:"good",n:12345678901234567890123456789012345678.}}'
    (tmp_path / "data.ion").write_text("\n".join([good, *BAD_ION.values(), '$ion_1_0 {Item:{pk:"end"}}']) + "\n")
    (source,) = find(tmp_path / "data.ion").files
    lines = list(sources.read(source))
    assert [case for case, line in zip(["good", *BAD_ION, "end"], lines, strict=True) if line.record] == ["good", "end"]
    assert all(line.fault for line in lines[1:-1])
    assert lines[0].record is not None
    assert lines[0].record.item == {"pk": {"S": "good"}, "n": {"N": "12345678901234567890123456789012345678"}}


def test_binary_ion_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"\xe0\x01\x00\xea\x0f")
    with pytest.raises(UserError, match="binary Ion"):
        find(tmp_path / "data")


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
