"""``make demo-aws``: the same live table, through the architecture of Kinesis and Lambda, on this machine.

Changes go through a stream to a function, and a shard is split while they do. Everything of AWS is a stand-in:
kinesalite for Kinesis, ``demo.event_source`` for Lambda's event source mapping, ministack for S3 and DynamoDB. The
function is the one that ``whimbrel aws package`` packs. Leaves nothing running; its files are in ``.demo``.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import threading
from dataclasses import dataclass

from rich.table import Table

from demo.application import CUSTOMER
from demo.function import RunningFunction
from demo.judge import at_dynamodb, at_mysql
from demo.resharding import open_shards, split
from demo.servers import Kinesalite, Ministack, SqlServer, any_sql_server
from demo.servers.dynamo import local_client
from demo.shop import LINES_PER_ORDER, LiveWriter, fill
from demo.steps import FOLDER, TABLES, LagMeter, console, drain, exit_code, prove, running, snapshot_and_load, title
from whimbrel.migration.follow import Follower
from whimbrel.migration.progress import Progress
from whimbrel.project import PASSWORD_VARIABLE, Project, load_project

STREAM = "whimbrel-shop"
SHARDS, CUSTOMERS = 2, 1_000
FOLLOW_SECONDS = 5
PROJECT = """
[source]
url = "{url}"

[target]
endpoint = "{endpoint}"
region = "us-east-1"

[snapshot]
store = "s3://shop-files/shop"  # the snapshot's files are in a bucket
endpoint = "{endpoint}"

[log]
engine = "kinesis"              # the changes go through a stream ...
stream = "whimbrel-shop"
endpoint = "{kinesis}"

[apply]
engine = "lambda"               # ... and a function applies them
"""


@dataclass
class Servers:
    source: SqlServer
    target: Ministack
    kinesis: Kinesalite


@dataclass
class Figures:
    snapshot: float = 0.0  # seconds
    load: float = 0.0
    catch_up: float = 0.0
    lag: float = 0.0  # seconds, while the application wrote
    shards: tuple[int, ...] = ()


def main() -> int:
    options = _options()

    def on_servers() -> int:
        with (
            any_sql_server(FOLDER / "source") as source,
            Ministack(FOLDER / "ministack") as target,
            Kinesalite(FOLDER / "kinesalite") as kinesis,
        ):
            return demonstrate(Servers(source, target, kinesis), options.rows, options.rate)

    return exit_code(on_servers)


def demonstrate(servers: Servers, rows: int, rate: int) -> int:
    source, figures, progress, stop = servers.source, Figures(), Progress(), threading.Event()
    title("A live application", f"{source.name} at {source.host}:{source.port}")
    source.execute("CREATE DATABASE shop")
    filled = fill(source, "shop", rows)
    project = _prepare(servers)
    console.print(f"shop.purchase has {filled:,} rows; an application writes about {rate} times a second.")
    title("On AWS, here by stand-ins", "nothing leaves this machine")
    console.print(f"DynamoDB and S3: ministack at {servers.target.endpoint}")
    console.print(f"Kinesis: kinesalite at {servers.kinesis.endpoint}; {STREAM} has {SHARDS} shards")
    console.print("Lambda: the function in a process, with a stand-in for its event source mapping")
    application = LiveWriter(source, "shop", filled // LINES_PER_ORDER, rate)
    with RunningFunction(STREAM, servers.kinesis.endpoint, servers.target.endpoint, stop.set) as function:
        application.start()
        try:
            title("Migrate", "capture first; then snapshot, load, stream. The application keeps writing.")
            _migrate(servers.kinesis, project, progress, stop, figures)
            title("Verify, live", "every row and every item, while the application keeps writing")
            prove(project)
        finally:
            application.stop()
        title("Verify, at rest", "the application has ended; its last changes go through")
        prove(project)
        failed = function.has_failed
    different = _different(servers)
    _report(figures, progress, different)
    _what_next(not different and not failed)
    return 1 if different or failed else 0


def _prepare(servers: Servers) -> Project:
    """The stream, another table, and the project file."""
    source, target, kinesis = servers.source, servers.target, servers.kinesis
    kinesis.new_stream(STREAM, SHARDS)
    local_client("s3", target.endpoint, target.region).create_bucket(Bucket="shop-files")
    customers = ", ".join(f"('customer{number}', 'Customer {number}', {number}, NULL)" for number in range(CUSTOMERS))
    source.execute(CUSTOMER, f"INSERT INTO customer VALUES {customers}", database="shop")
    text = PROJECT.format(url=source.url("shop"), endpoint=target.endpoint, kinesis=kinesis.endpoint)
    (FOLDER / "whimbrel.toml").write_text(text + TABLES)
    os.environ[PASSWORD_VARIABLE] = source.password
    return load_project(FOLDER / "whimbrel.toml")


def _migrate(
    kinesis: Kinesalite, project: Project, progress: Progress, stop: threading.Event, figures: Figures
) -> None:
    with running(project, progress, stop) as run:
        figures.snapshot, figures.load = snapshot_and_load(run)
        with Follower(run):
            figures.catch_up = drain(run)
            _split_while_following(kinesis, progress, stop, figures)


def _split_while_following(kinesis: Kinesalite, progress: Progress, stop: threading.Event, figures: Figures) -> None:
    title("Follow, and split a shard", f"for {FOLLOW_SECONDS} seconds; the application keeps writing")
    with LagMeter(progress) as meter:
        stop.wait(FOLLOW_SECONDS / 2)
        before = len(open_shards(kinesis, STREAM))
        split(kinesis, STREAM, random.Random(1))
        figures.shards = before, len(open_shards(kinesis, STREAM))
        console.print(
            "{} shards are {} now: children are read when their parent is at its end.".format(*figures.shards)
        )
        stop.wait(FOLLOW_SECONDS / 2)
    figures.lag = meter.median


def _different(servers: Servers) -> int:
    """By reading both sides without whimbrel: rows and entries that are not the same."""
    with servers.source.connect("shop") as connection:
        here = at_mysql(connection)
    there = at_dynamodb(servers.target.client())
    return sum(here.get(key) != there.get(key) for key in here.keys() | there.keys())


def _report(figures: Figures, progress: Progress, different: int) -> None:
    grid = Table(title="Report", show_header=False, title_justify="left")
    rows = sum(counts.exported_rows for counts in progress.tables.values())
    items = sum(counts.loaded_items for counts in progress.tables.values())
    for name, value in (
        ("rows exported", f"{rows:,} in {figures.snapshot:.1f} s ({rows / figures.snapshot:,.0f} a second)"),
        (
            "items loaded",
            f"{items:,} in {figures.load:.1f} s ({items / figures.load:,.0f} a second, the stand-in's pace)",
        ),
        ("changes", f"{progress.applied:,} by the function; caught up {figures.catch_up:.1f} s after the load"),
        ("shards", " → ".join(map(str, figures.shards))),
        ("lag, following", f"{figures.lag:.1f} s at the median (MariaDB stamps whole seconds)"),
        ("dead letters", f"{progress.dead:,}"),
        ("differences", f"{different:,}, by a look at both sides without whimbrel"),
    ):
        grid.add_row(name, value)
    console.print()
    console.print(grid)


def _what_next(equal: bool) -> None:
    if not equal:
        console.print("[red]The two sides differ, or something ended early: please report this, with the folder .demo.")
        return
    console.print("""
Next, on AWS (docs/aws.md):
  whimbrel check                                 # is it needed, and what does it cost
  whimbrel aws template --account 111122223333   # stream, function, bucket, roles, alarms
  whimbrel aws package                           # the function
  whimbrel migrate                               # as ever
""")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make demo-aws", description="A live migration by stand-ins for AWS.")
    parser.add_argument("--rows", type=int, default=40_000)
    parser.add_argument("--rate", type=int, default=100, help="changes a second")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
