"""The memory of a conversion follows neither the number of its items nor that of their attributes."""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import orjson
import pytest

from whimbrel.lake.segments import MOST_DESCRIBED, parquet_writer

pytest.importorskip("duckdb", reason="the extra 'lake' is not installed")
pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

MOST = 225  # MB: 150, and 75 for the one thread
CONVERT = """
import sys
from pathlib import Path
from whimbrel.lake.convert import ConvertRules, from_files
from whimbrel.lake.sources import SourceFile
folder, rows = Path(sys.argv[1]), int(sys.argv[2])
files = [SourceFile(path, "full") for path in sorted(folder.glob("*.json.gz"))]
assert from_files(folder / "lake", ConvertRules("t", "t", ("pk",), workers=1), files).manifest.rows == rows
print(Path("/proc/self/status").read_text())
"""
FEW = (1_000, 400, 10)  # items, attributes of each, and how long one is
MANY = {
    "wide": (12_000, 200, 10),
    "very wide": (2_000, 2_000, 10),
    "long": (1_500, 1, 380_000),
    "wide and long": (800, 1_000, 310),
}


def test_wide_items_are_converted_in_bounded_memory(tmp_path: Path) -> None:
    assert peak(tmp_path, *FEW) < MOST


@pytest.mark.slow
@pytest.mark.parametrize("shape", MANY)
def test_many_of_them_take_no_more(tmp_path: Path, shape: str) -> None:
    assert peak(tmp_path, *MANY[shape]) < MOST


@pytest.mark.parametrize("columns", [MOST_DESCRIBED, MOST_DESCRIBED + 1])
def test_a_wide_file_does_not_repeat_its_texts_in_its_footer(tmp_path: Path, columns: int) -> None:
    texts = {f"text{number}": ["long " * 20] for number in range(columns - 2)}
    rows = pa.table(texts | {"number": [1], "price": [Decimal("1.50")]})
    with parquet_writer(tmp_path / "rows.parquet", rows.schema) as writer:
        writer.write_table(rows)
    [group] = pq.ParquetFile(tmp_path / "rows.parquet").metadata.to_dict()["row_groups"]
    described = {each["path_in_schema"] for each in group["columns"] if each["statistics"]}
    assert described == set(rows.column_names if columns == MOST_DESCRIBED else ["number", "price"])
    assert pq.read_table(tmp_path / "rows.parquet") == rows


def peak(folder: Path, items: int, attributes: int, length: int) -> float:
    """MB that converting such items takes at most."""
    for number in range(2):
        with gzip.open(folder / f"{number}.json.gz", "wb", 1) as file:
            for each in range(number, items, 2):
                item = {f"a{name}": {"S": f"{each:x} {name} ".ljust(length, "x")} for name in range(attributes)}
                file.write(orjson.dumps({"Item": {"pk": {"S": f"row {each}"}} | item}) + b"\n")
    command = [sys.executable, "-c", CONVERT, str(folder), str(items)]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout
    [found] = re.findall(r"VmHWM:\s+(\d+) kB", said)
    print(items, attributes, length, int(found) // 1024)
    return int(found) / 1024
