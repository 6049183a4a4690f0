"""The snapshot's files in a bucket beside those on the disk: CPU of the process for each row of some 40 bytes.

``python -m benchmarks.store [--rows 2000000] [--repeat 3] [--json]``. Each way is a `whimbrel snapshot` by turns, in a
process of its own; the medians count. S3 is ministack, over HTTP, in another process. What a process takes for a table
with one row is said apart, and is not in the figures of a row. By default a chunk on the disk has 10,000 rows, and one
in a bucket 40,000.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.snapshot import DATABASE, fill
from demo.servers import MariaDB, Ministack
from demo.servers.dynamo import local_client
from whimbrel.project import NO_SOURCE

MOST_TIMES = 1.2  # of the disk's CPU
BUCKET = "bench-snapshot"
WAYS = (
    ("disk", NO_SOURCE.chunk_rows // 4),
    ("S3", NO_SOURCE.chunk_rows // 4),
    ("disk", NO_SOURCE.chunk_rows),
    ("S3", NO_SOURCE.chunk_rows),
)
PROJECT = """
[source]
url = "{url}"
chunk_rows = {chunk}
[target]
endpoint = "{endpoint}"
region = "us-east-1"
{more}
[[table]]
source = "{database}.{table}"
target = "{table}"
shape = "group"
partition_key = {{ name = "customerid" }}
sort_key = {{ name = "orderid" }}
entry = {{ name = "${{productid}}", value = "quantity" }}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with MariaDB() as source, Ministack() as target:
        figures = measure(source, target, options.rows, options.repeat)
    print(json.dumps(figures) if options.json else "\n".join(lines(figures)))


def measure(source: MariaDB, target: Ministack, rows: int, repeat: int) -> dict[str, float]:
    """CPU of a row, in microseconds, by ``named``; and that of a start, in seconds."""
    local_client("s3", target.endpoint, target.region).create_bucket(Bucket=BUCKET)
    taken: dict[tuple[str, str], list[float]] = {}
    for table, count in (("filled", rows), ("empty", 1)):
        fill(source, table, count)
        for number in range(repeat):
            for place, chunk in WAYS:
                seconds = snapshot(source, target, table, place, chunk, number)
                taken.setdefault((named(place, chunk), table), []).append(seconds)
    middle = {key: statistics.median(found) for key, found in taken.items()}
    made: dict[str, float] = {}
    for way in (named(*each) for each in WAYS):
        made[way] = (middle[way, "filled"] - middle[way, "empty"]) / rows * 1e6
        made[f"start, {way}"] = middle[way, "empty"]
    return made


def named(place: str, chunk: int) -> str:
    return f"{place}, chunks of {chunk:,}"


def snapshot(source: MariaDB, target: Ministack, table: str, place: str, chunk: int, number: int) -> float:
    """Seconds of CPU of one export from scratch."""
    folder = Path(tempfile.mkdtemp())
    store = f'[snapshot]\nstore = "s3://{BUCKET}/{table}-{chunk}-{number}"\nendpoint = "{target.endpoint}"'
    settings = {"endpoint": target.endpoint, "database": DATABASE, "table": table, "chunk": chunk}
    text = PROJECT.format(url=source.url(DATABASE), more=store if place == "S3" else "", **settings)
    (folder / "whimbrel.toml").write_text(text)
    try:
        _run("capture", folder, source.password, "--until-caught-up")
        before = _children()
        _run("snapshot", folder, source.password)
        return _children() - before
    finally:
        shutil.rmtree(folder)


def _run(command: str, folder: Path, password: str, *more: str) -> None:
    environment = os.environ | {"WHIMBREL_SOURCE_PASSWORD": password}
    words = [sys.executable, "-m", "whimbrel", command, *more]
    subprocess.run(words, cwd=folder, env=environment, check=True, capture_output=True)


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def lines(figures: dict[str, float]) -> list[str]:
    said = [f"{'snapshot to':26}{'CPU µs/row':>12}{'start, CPU s':>14}"]
    said += [f"{way:26}{figures[way]:>12.2f}{figures[f'start, {way}']:>14.2f}" for way in (named(*w) for w in WAYS)]
    times = figures[named(*WAYS[3])] / figures[named(*WAYS[2])]
    said.append(f"by default {times:.2f} times; at most {MOST_TIMES:g}: {'yes' if times <= MOST_TIMES else 'NO'}")
    return said


if __name__ == "__main__":
    main()
