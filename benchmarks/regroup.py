"""Regroup and map: from an export file to BatchWriteItem bodies, beside the post's way, in one run.

    python -m benchmarks.regroup [--rows 62500] [--scale 1,4,16] [--repeat 3] [--json]

The rows are purchase(customerid, orderid, productid, quantity), about four a (customerid, orderid), which become one
item with an attribute for each product.

- whimbrel: export files (zstd, JSON lines), one a chunk -> put_items -> one body for each 25 items.
- the post: a CSV file -> a Python mapper that prints key TAB value -> sort -> a Python reducer that collects a dict for
  each key and makes the item and its JSON body (its boto call does that with json; nothing is sent).
- the post, tuned: the same with orjson and a body for each 25 items, to tell the method's share from the encoder's.
- DuckDB, polars: what an expert would write today: the CSV file grouped by the library, with all its threads, and the
  bodies made of its lists with orjson. polars is in the rivals' environment (rivals.py).

CPU is user and system time of all processes of a pipeline, their start included.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson

from benchmarks.rivals import their_python
from whimbrel.mapping.design import compile_mapping
from whimbrel.project import KeyRule, TableRule
from whimbrel.records import Column, Put, Row, Table
from whimbrel.snapshot_files import Chunk, read_chunk, write_chunk

PURCHASE = Table(
    "shop",
    "purchase",
    (
        Column("customerid", "int", nullable=False),
        Column("orderid", "int", nullable=False),
        Column("productid", "text", nullable=False, length=32),
        Column("quantity", "int"),
    ),
    ("customerid", "orderid", "productid"),
)
RULE = TableRule(
    "purchase",
    "purchase",
    "group",
    KeyRule("customerid", "${customerid}"),
    KeyRule("orderid", "${orderid}"),
    entry_name="${productid}",
    entry_value="quantity",
)
BATCH_ITEMS = 25
CHUNK_ROWS = 10_000
LINE_ROWS = 500

POST_MAPPER = """
import sys
for line in sys.stdin:
    line = line.strip()
    cols = line.split(',')
    print('%s,%s\\t%s,%s' % (cols[0], cols[1], cols[2], cols[3]))
"""
POST_REDUCER = """
import json, sys
def put(keys, attributes):
    hash_key, range_key = keys.split(',')
    item = {'customerid': {'S': hash_key}, 'orderid': {'S': range_key}}
    for name, value in attributes.items():
        item[name] = {'S': value}
    sys.stdout.write(json.dumps({'TableName': 'purchase', 'Item': item}) + '\\n')
current_keys = None
item_data = {}
for line in sys.stdin:
    line = line.strip()
    dickeys, items = line.split('\\t')
    products = items.split(',')
    if current_keys == dickeys:
        item_data[products[0]] = products[1]
    else:
        if current_keys:
            put(current_keys, item_data)
        item_data = {}
        item_data[products[0]] = products[1]
        current_keys = dickeys
if current_keys:
    put(current_keys, item_data)
"""
TUNED_REDUCER = """
import orjson, sys
batch = []
def flush():
    if batch:
        sys.stdout.buffer.write(orjson.dumps({'RequestItems': {'purchase': batch}}) + b'\\n')
        batch.clear()
def put(keys, attributes):
    hash_key, range_key = keys.split(',')
    item = {'customerid': {'S': hash_key}, 'orderid': {'S': range_key}}
    for name, value in attributes.items():
        item[name] = {'N': value}
    batch.append({'PutRequest': {'Item': item}})
    if len(batch) == 25:
        flush()
current_keys = None
item_data = {}
for line in sys.stdin:
    dickeys, items = line.rstrip('\\n').split('\\t')
    name, value = items.split(',')
    if current_keys == dickeys:
        item_data[name] = value
    else:
        if current_keys:
            put(current_keys, item_data)
        item_data = {name: value}
        current_keys = dickeys
if current_keys:
    put(current_keys, item_data)
flush()
"""
BODIES = """
import orjson, sys
def bodies(groups):
    batch = []
    for hash_key, range_key, names, values in groups:
        item = {'customerid': {'S': hash_key}, 'orderid': {'S': range_key}}
        for name, value in zip(names, values):
            item[name] = {'N': value}
        batch.append({'PutRequest': {'Item': item}})
        if len(batch) == 25:
            sys.stdout.buffer.write(orjson.dumps({'RequestItems': {'purchase': batch}}) + b'\\n')
            batch = []
    if batch:
        sys.stdout.buffer.write(orjson.dumps({'RequestItems': {'purchase': batch}}) + b'\\n')
"""
DUCKDB = """
import duckdb, sys
from bodies import bodies
columns = "customerid VARCHAR, orderid VARCHAR, product VARCHAR, quantity VARCHAR"
def groups():
    done = duckdb.connect()
    done.execute(f"CREATE TABLE purchase ({columns})")
    done.execute("COPY purchase FROM '" + sys.argv[1] + "' (FORMAT csv, HEADER false)")
    done.execute("SELECT customerid, orderid, list(product), list(quantity) FROM purchase GROUP BY ALL")
    while found := done.fetchmany(10_000):
        yield from found
bodies(groups())
"""
POLARS = """
import polars, sys
from bodies import bodies
names = ["customerid", "orderid", "product", "quantity"]
file = polars.scan_csv(sys.argv[1], has_header=False, schema=dict.fromkeys(names, polars.String))
bodies(file.group_by("customerid", "orderid").agg("product", "quantity").collect().iter_rows())
"""
PROGRAMS = {
    "mapper.py": POST_MAPPER,
    "reducer.py": POST_REDUCER,
    "tuned.py": TUNED_REDUCER,
    "bodies.py": BODIES,
    "with_duckdb.py": DUCKDB,
    "with_polars.py": POLARS,
}


def main() -> None:
    options = _options()
    if options.worker:
        make_bodies(Path(options.worker))
        return
    with tempfile.TemporaryDirectory(prefix="whimbrel-regroup-") as folder:
        report = compare(Path(folder), options.rows, [int(times) for times in options.scale.split(",")], options.repeat)
    print(json.dumps(report, indent=2) if options.json else table_of(report))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=62_500, help="rows at scale 1")
    parser.add_argument("--scale", default="1,4,16")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser.parse_args()


# --- the two ways --------------------------------------------------------------------------------------------------


def make_bodies(folder: Path) -> None:
    """whimbrel's way, in a process of its own: a chunk's rows, its items, their bodies."""
    gc.set_threshold(100_000, 20, 100)  # as whimbrel's commands do: rows and items are many and make no cycles
    mapping = compile_mapping(RULE, PURCHASE)
    write = sys.stdout.buffer.write
    for path in sorted(folder.iterdir()):
        puts, faults = mapping.put_items([row for rows in read_chunk(path) for row in rows])
        assert not faults
        for start in range(0, len(puts), BATCH_ITEMS):
            write(body(puts[start : start + BATCH_ITEMS]) + b"\n")


def body(puts: list[Put]) -> bytes:
    return orjson.dumps({"RequestItems": {RULE.target: [{"PutRequest": {"Item": put.item}} for put in puts]}})


def whimbrel(folder: Path) -> str:
    return f"{sys.executable} -m benchmarks.regroup --worker {folder}/export"


def post(folder: Path) -> str:
    return _pipeline(folder, "reducer.py")


def post_tuned(folder: Path) -> str:
    return _pipeline(folder, "tuned.py")


def _pipeline(folder: Path, reducer: str) -> str:
    python = sys.executable
    return f"{python} {folder}/mapper.py < {folder}/rows.csv | LC_ALL=C sort | {python} {folder}/{reducer}"


def duckdb(folder: Path) -> str:
    return f"{sys.executable} {folder}/with_duckdb.py {folder}/rows.csv"


def polars(folder: Path) -> str:
    return f"{their_python()} {folder}/with_polars.py {folder}/rows.csv"


WAYS: dict[str, Callable[[Path], str]] = {
    "whimbrel": whimbrel,
    "post": post,
    "post_tuned": post_tuned,
    "duckdb": duckdb,
    "polars": polars,
}


# --- the comparison ------------------------------------------------------------------------------------------------


def can_run(way: str) -> bool:
    try:
        return way != "polars" or bool(their_python())
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"(without polars: {error!r})\n", file=sys.stderr)
        return False


def compare(folder: Path, base: int, scale: list[int], repeat: int) -> dict[str, Any]:
    """Medians of CPU for each way and size; the ways take turns, so that a slow moment of the machine meets all."""
    for name, program in PROGRAMS.items():
        (folder / name).write_text(program)
    write_inputs(folder, 1)
    ways = {way: command for way, command in WAYS.items() if can_run(way)}
    start = {way: statistics.median(cpu(command(folder)) for _ in range(repeat)) for way, command in ways.items()}
    sizes = []
    for times in scale:
        rows = write_inputs(folder, base * times)
        if times == scale[0]:
            check_equal(folder, ways)
        taken: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(repeat):
            for way, command in ways.items():
                taken[way].append(cpu(command(folder)))
        sizes.append(_figures(rows, {way: statistics.median(each) for way, each in taken.items()}, start))
    return {"start_ms": {way: round(seconds * 1e3, 1) for way, seconds in start.items()}, "sizes": sizes}


def _figures(rows: int, taken: dict[str, float], start: dict[str, float]) -> dict[str, Any]:
    return {
        "rows": rows,
        "cpu_us_per_row": {way: round(seconds / rows * 1e6, 3) for way, seconds in taken.items()},
        "without_start_us_per_row": {way: round((taken[way] - start[way]) / rows * 1e6, 3) for way in taken},
        "times_less_cpu": {way: round(taken[way] / taken["whimbrel"], 2) for way in taken if way != "whimbrel"},
    }


def cpu(command: str) -> float:
    """Seconds of user and system time of the shell pipeline and all its processes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(["bash", "-o", "pipefail", "-c", command], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def check_equal(folder: Path, ways: dict[str, Callable[[Path], str]]) -> None:
    """All must make the same items."""
    first = _items(whimbrel(folder))
    for way, command in ways.items():
        assert _items(command(folder)) == first, f"{way} made other items"


def _items(command: str) -> dict[tuple[str, str], dict[str, str]]:
    output = subprocess.run(["bash", "-o", "pipefail", "-c", command], check=True, stdout=subprocess.PIPE).stdout
    items = {}
    for line in output.splitlines():
        document = orjson.loads(line)
        puts = document["RequestItems"]["purchase"] if "RequestItems" in document else [{"PutRequest": document}]
        for put in puts:
            item = {name: next(iter(value.values())) for name, value in put["PutRequest"]["Item"].items()}
            items[item["customerid"], item["orderid"]] = item
    return items


def table_of(report: dict[str, Any]) -> str:
    heads = ["CPU µs a row", "whimbrel", "(start apart)", "    post", "post, tuned", "DuckDB", "polars"]
    lines = [f"{'   '.join(heads)}   times less than the post"]
    for size in report["sizes"]:
        taken, apart = size["cpu_us_per_row"], size["without_start_us_per_row"]
        lines.append(
            f"{size['rows']:>9,} rows {taken['whimbrel']:>8.2f} {apart['whimbrel']:>14.2f} {taken['post']:>9.2f}"
            f"{taken['post_tuned']:>14.2f} {taken['duckdb']:>8.2f} {taken.get('polars', float('nan')):>8.2f}"
            f"{size['times_less_cpu']['post']:>15.1f}"
        )
    lines.append(f"start alone, ms: {report['start_ms']}")
    return "\n".join(lines)


# --- the input -----------------------------------------------------------------------------------------------------


def write_inputs(folder: Path, count: int) -> int:
    """The same rows in key order: as export files, of chunks with whole groups as a snapshot's are, and as CSV."""
    rows = purchases(count)
    shutil.rmtree(folder / "export", ignore_errors=True)
    (folder / "export").mkdir()
    for number, chunk in enumerate(chunks(rows), 1):
        file = write_chunk(folder / "export" / f"chunk-{number:08}.jsonl.zst", PURCHASE, Chunk(number, None, None, ()))
        for start in range(0, len(chunk), LINE_ROWS):
            file.write(chunk[start : start + LINE_ROWS])
        file.close()
    (folder / "rows.csv").write_text("".join(",".join(map(str, row)) + "\n" for row in rows))
    return len(rows)


def chunks(rows: list[Row]) -> Iterator[list[Row]]:
    start = 0
    while start < len(rows):
        end = start + CHUNK_ROWS
        while end < len(rows) and rows[end][:2] == rows[end - 1][:2]:
            end += 1
        yield rows[start:end]
        start = end


def purchases(count: int) -> list[Row]:
    dice = random.Random(7)
    rows: list[Row] = []
    customer = order = 0
    while len(rows) < count:
        customer += 1
        for _ in range(dice.randint(1, 4)):
            order += 1
            products = sorted(dice.sample(range(100_000), dice.randint(1, 7)))
            rows += [(customer, order, f"product{product:06}", dice.randint(1, 99)) for product in products]
    return rows[:count]


if __name__ == "__main__":
    main()
