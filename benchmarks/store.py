"""The snapshot's files in a bucket beside those on the disk: CPU of the process for each row of some 40 bytes.

``python -m benchmarks.store [--rows 2000000] [--repeat 3] [--json]``. Each way is a `whimbrel snapshot` with the
project file's defaults, by turns, in a process of its own; the medians count. S3 is ministack, over HTTP, in another
process. What a process takes for a table without rows is said apart, and is not in the figures of a row.
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

MOST_TIMES = 1.2  # of the disk's CPU
BUCKET = "bench-snapshot"
PROJECT = """
[source]
url = "{url}"
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
    local_client("s3", target.endpoint, target.region).create_bucket(Bucket=BUCKET)
    taken: dict[tuple[str, str], list[float]] = {}
    for table, count in (("filled", rows), ("empty", 1)):
        fill(source, table, count)
        for number in range(repeat):
            for way in ("disk", "S3"):
                taken.setdefault((way, table), []).append(snapshot(source, target, table, way, number))
    middle = {key: statistics.median(found) for key, found in taken.items()}
    of_a_row = {way: (middle[way, "filled"] - middle[way, "empty"]) / rows * 1e6 for way in ("disk", "S3")}
    start = {f"start, {way}": middle[way, "empty"] for way in ("disk", "S3")}
    return {**of_a_row, **start, "times": of_a_row["S3"] / of_a_row["disk"]}


def snapshot(source: MariaDB, target: Ministack, table: str, way: str, number: int) -> float:
    """Seconds of CPU of one export from scratch."""
    folder = Path(tempfile.mkdtemp())
    prefix = f"s3://{BUCKET}/{table}-{number}"
    more = f'[snapshot]\nstore = "{prefix}"\nendpoint = "{target.endpoint}"' if way == "S3" else ""
    text = PROJECT.format(url=source.url(DATABASE), endpoint=target.endpoint, more=more, database=DATABASE, table=table)
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
    said = [f"{'snapshot to':14}{'CPU µs/row':>12}{'start, CPU s':>14}"]
    said += [f"{way:14}{figures[way]:>12.2f}{figures[f'start, {way}']:>14.2f}" for way in ("disk", "S3")]
    kept = "yes" if figures["times"] <= MOST_TIMES else "NO"
    return [*said, f"{figures['times']:.2f} times; at most {MOST_TIMES:g}: {kept}"]


if __name__ == "__main__":
    main()
