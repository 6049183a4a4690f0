"""Conversion of bank items from gzip DynamoDB JSON to Parquet: CPU, time and memory, each in a process of its own.

``python -m benchmarks.convert [--items N] [--rounds N] [--files N]``. Ours infers the types, accounts for every line,
checks and publishes; DuckDB and pyarrow's own JSON reader are told the whole structure and check nothing; orjson +
pyarrow is the usual script.
"""

from __future__ import annotations

import argparse
import gzip
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from demo import bank

ROWS_AT_ONCE = 50_000


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--files", type=int, default=8)
    parser.add_argument("--one", choices=CONTESTANTS, help=argparse.SUPPRESS)
    parser.add_argument("folder", nargs="?", type=Path)
    options = parser.parse_args()
    if options.one:
        CONTESTANTS[options.one](options.folder)
        return
    with tempfile.TemporaryDirectory() as folder:
        write_items(Path(folder), options.items, options.files)
        print(table(options.items, options.files, measure(Path(folder), options.rounds)))


def write_items(folder: Path, items: int, files: int) -> None:
    rows = bank.rows(items, 0)
    for number in range(files):
        with gzip.open(folder / f"{number:03}.json.gz", "wb", 4) as file:
            for row in islice(rows, -(-items // files)):
                file.write(orjson.dumps({"Item": bank.item(row)}) + b"\n")


def duckdb_struct(folder: Path) -> None:
    import duckdb

    types = ", ".join(f'"{name}" STRUCT("{_tag(name)}" VARCHAR)' for name in bank.COLUMNS)
    casts = {str: "VARCHAR", int: "BIGINT", float: "DECIMAL(18, 3)"}
    selected = ", ".join(
        f'Item."{name}"."{_tag(name)}"::{casts[kind]} AS "{name}"' for name, kind in bank.TYPES.items()
    )
    duckdb.connect().execute(
        f"COPY (SELECT {selected} FROM read_json('{folder}/*.json.gz', format = 'newline_delimited', "
        f"columns = {{'Item': 'STRUCT({types})'}})) TO '{folder}/duckdb.parquet' (FORMAT parquet, COMPRESSION zstd)"
    )


def whimbrel(folder: Path) -> None:
    from whimbrel.__main__ import Without
    from whimbrel.lake.convert import ConvertRules, from_files
    from whimbrel.lake.sources import SourceFile

    sys.meta_path.insert(0, Without("pandas", "numpy"))  # as the command does
    files = [SourceFile(path, "full") for path in sorted(folder.glob("*.json.gz"))]
    done = from_files(folder / "lake", ConvertRules("bank", "bank", ("customer_id",)), files)
    assert not done.refused


def orjson_pyarrow(folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {str: pa.string(), int: pa.int64(), float: pa.float64()}
    schema = pa.schema([(name, kinds[kind]) for name, kind in bank.TYPES.items()])
    with pq.ParquetWriter(folder / "orjson.parquet", schema, compression="zstd") as writer:
        for path in sorted(folder.glob("*.json.gz")):
            with gzip.open(path) as file:
                while lines := list(islice(file, ROWS_AT_ONCE)):
                    items = [orjson.loads(line)["Item"] for line in lines]
                    columns = [
                        pa.array([kind(item[name][_tag(name)]) if name in item else None for item in items])
                        for name, kind in bank.TYPES.items()
                    ]
                    writer.write_table(pa.Table.from_arrays(columns, schema=schema))


def pyarrow_json(folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.json
    import pyarrow.parquet as pq

    kinds = {str: pa.string(), int: pa.int64(), float: pa.float64()}
    schema = pa.schema([(name, kinds[kind]) for name, kind in bank.TYPES.items()])
    item = pa.struct([(name, pa.struct([(_tag(name), pa.string())])) for name in bank.TYPES])
    told = pyarrow.json.ParseOptions(
        explicit_schema=pa.schema([("Item", item)]), unexpected_field_behavior="error", newlines_in_values=False
    )
    with pq.ParquetWriter(folder / "pyarrow.parquet", schema, compression="zstd") as writer:
        for path in sorted(folder.glob("*.json.gz")):
            with pa.input_stream(path, compression="gzip") as file:
                items = pyarrow.json.read_json(file, parse_options=told)["Item"].combine_chunks()
            columns = [items.field(name).field(_tag(name)).cast(kinds[kind]) for name, kind in bank.TYPES.items()]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))


CONTESTANTS: dict[str, Callable[[Path], None]] = {
    "DuckDB read_json, explicit struct": duckdb_struct,
    "pyarrow.json, explicit struct": pyarrow_json,
    "orjson + pyarrow": orjson_pyarrow,
    "whimbrel convert": whimbrel,
}


def measure(folder: Path, rounds: int) -> dict[str, tuple[float, float, float]]:
    """(CPU s, wall s, peak MB) of each, the median of the rounds; the contestants take turns."""
    seen: dict[str, list[tuple[float, float, float]]] = {name: [] for name in CONTESTANTS}
    for _ in range(rounds):
        for name in CONTESTANTS:
            begun = time.perf_counter()
            process = subprocess.Popen([sys.executable, "-m", "benchmarks.convert", "--one", name, str(folder)])
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                sys.exit(f"{name} failed")
            cpu = used.ru_utime + used.ru_stime
            seen[name].append((cpu, time.perf_counter() - begun, used.ru_maxrss / 1024))
    return {name: _medians(each) for name, each in seen.items()}


def table(items: int, files: int, results: dict[str, tuple[float, float, float]]) -> str:
    base = results["DuckDB read_json, explicit struct"][0]
    lines = [f"{items:,} items in {files} files{'':<14}{'CPU s':>8}{'wall s':>8}{'peak MB':>9}{'CPU, DuckDB = 1':>17}"]
    for name, (cpu, wall, peak) in results.items():
        lines.append(f"{name:<37}{cpu:>10.2f}{wall:>8.2f}{peak:>9.0f}{cpu / base:>17.2f}")
    return "\n".join(lines)


def _medians(measured: list[Any]) -> tuple[float, float, float]:
    cpu, wall, peak = (statistics.median(each) for each in zip(*measured, strict=True))
    return cpu, wall, peak


def _tag(name: str) -> str:
    return "S" if bank.TYPES[name] is str else "N"


if __name__ == "__main__":
    main()
