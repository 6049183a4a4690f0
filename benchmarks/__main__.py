"""``make bench``: every benchmark, one after the other, and their tables kept in docs/benchmarks.md.

``python -m benchmarks binlog load`` runs only those two.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path

PARTS = {
    "binlog": "Binlog row events. Target: 12 µs or less, and a tenth of mysql-replication's on the same events.",
    "snapshot": "Snapshot, to compressed export files. Target: 4 µs a row or less, under 150 MB, whatever the size. "
    "The server works more for it than for one plain SELECT: it compares each row with the bounds of its chunk, and "
    "waits more often for a client that compresses.",
    "store": "The snapshot in a bucket beside the disk. Target: 1.2 times the CPU a row, or less.",
    "start": "The longest application write while the start is established. Target: 300 ms or less, always.",
    "regroup": "Regroup and map, from export file to request. Target: a third of the published solution's, or less.",
    "load": "Load into a sink. Target: 25 µs a 300-byte item or less, an eighth of boto3's batch_writer or less.",
    "apply": "Apply, from the change log to the acknowledged write. Target: four times boto3's changes/s, or more.",
    "lookup": "Changes of a record that looks a column up, beside the same without. Target: twice its CPU or less.",
    "stream": "A stream: sender and function. Target: the function at 1.3 times the CPU of one process, or less.",
    "reverse": "Reverse, from the stream to the committed row. Target: 2,000 changes of items/s a core, or more.",
    "watches": "Noting keys for a cutover, and watching both sides after it. Target: a twentieth of what is done.",
    "quick": "Verifying only what changed, both sides read, while nobody can write. Target: 2,000 items in a second.",
    "verify": "Comparing everything, from rows and pages to equal. Target: 11.5 µs of CPU a record, 6 a row in groups.",
    "wide": "A row of 50 columns of mixed types, from the binlog to the item, beside mysql-replication and boto3.",
    "check": "check of a million rows. Target: under a minute, with a handful of queries over the table.",
    "design": "A design for 30 tables and 200 statements. Target: under 30 seconds.",
    "convert": "Conversion to Parquet. Target: 1.1 times DuckDB's CPU or less, half of orjson + pyarrow's or less.",
    "cores": "Load and convert by one process and by several. Target: 1.8 times faster with two cores.",
    "spark": "Load by Spark on this machine. Target: 9 µs of Python CPU a row at a million rows, 25 with the JVM's.",
    "lake": "A table and its exports: again by comparing, a data set, restored. Target: 15 µs again, 12 restored.",
    "renew": "A renewal step by step, with one item in a hundred changed. Target: 25 µs an item.",
    "migrate": "A migration phase by phase, with every row changed after the load, from MariaDB and from MySQL.",
    "tables": "Hundreds of tables of ten rows: what one more costs each command. Target: 5 ms of CPU.",
    "warehouse": "Full load into a warehouse, and changes into DuckDB. Target: half of dlt's CPU, 20,000 changes/s.",
    "followed": "Changes of a live source into DuckDB, in batches of 10 s. Target: 20,000 changes/s.",
    "query": "The correlation query, over Parquet and CSV, beside sqlite and pandas.",
    "serve": "One prediction over HTTP. Target: 150 µs of CPU or less, four times MLServer's requests/s, none failed.",
    "rolling": "Retraining over 20 windows of time, beside a fixed model. Target: 0.04 more AUC, pooled.",
}
PAGE = Path("docs/benchmarks.md")


def main() -> int:
    """All parts, or only those named; what the page says of the others stays, and what it says below a table."""
    sections = _kept()
    for part in sys.argv[1:] or PARTS:
        print(f"\n{PARTS[part]}\n", flush=True)
        done = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{part}"], stdout=subprocess.PIPE, text=True, check=True
        )
        print(done.stdout, flush=True)
        made = time.strftime("%Y-%m-%d", time.gmtime())
        table = f"## {part}\n\n{PARTS[part]} Measured {made}.\n\n```\n{done.stdout.strip()}\n```\n"
        sections[part] = table + _said_below(sections.get(part, ""))
        # After each part: a later one that fails does not take the earlier figures with it.
        kept = [*(each for each in PARTS if each in sections), *(each for each in sections if each not in PARTS)]
        PAGE.write_text(_head() + "\n".join(sections[each] for each in kept), encoding="utf-8")
    print(f"Kept in {PAGE}")
    return 0


def _kept() -> dict[str, str]:
    """The sections of the page as it is, by their part."""
    text = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    found = re.split(r"(?m)^## ", text)[1:]
    return {section.partition("\n")[0].strip(): f"## {section.rstrip()}\n" for section in found}


def _said_below(section: str) -> str:
    """What somebody wrote below the table of a section: how to read it, what else was tried."""
    return section.split("\n```\n", 2)[-1] if section.count("\n```\n") > 1 else ""


def _head() -> str:
    return f"""# Benchmarks

How fast whimbrel is, beside what people would use instead, and beside [its own goals](#goals-met-and-missed).
`make bench` makes this page. Both sides of a comparison run in turn in one run; figures are medians, and CPU time of
our own process, since wall time says more about the machine's neighbours. The machine: {os.cpu_count()} cores,
Python {platform.python_version()}, {platform.system()} {platform.machine()}.
It is shared, and its speed differs by a factor of two between days: compare the rows of a table, not two tables.

"""


if __name__ == "__main__":
    sys.exit(main())
