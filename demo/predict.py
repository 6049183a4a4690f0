"""``make demo-predict``: a table in DynamoDB becomes a data set, a model, an endpoint, and a renewal under load.

Every step is whimbrel's own command, printed as a person would type it. The table is the bank's (demo/bank.py): made-up
calls, or the original with ``--data``. Leaves nothing running; its files are in ``.demo/predict``.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Self

from rich.console import Console
from rich.table import Table

from demo import bank
from demo.servers import Ministack, ServerUnavailable

FOLDER = Path(".demo/predict")
PRESENT = 0.7  # of the calls have been made when the first model is trained
NOT_INPUTS = ("customer_id", "called", "duration", "y")
PROJECT = """
[target]
endpoint = "{endpoint}"
region = "us-east-1"

[[dataset]]
table = "bank"
name = "datasource"                      # its name in SQL

[[model]]
name = "subscribes"
dataset = "datasource"
target = "y"
exclude = ["customer_id", "duration"]    # how long a call took is not known before it
time = "called"                          # the newest calls are held out to judge by

[[endpoint]]
name = "ServiceEndpoint"
model = "subscribes"
traffic = "CANARY"
wait = 2
bake = 1

[[renewal]]
model = "subscribes"
endpoint = "ServiceEndpoint"
cron = "0 3 * * *"                       # for `whimbrel schedule`
"""
CORRELATION = """SELECT corr(age,y) AS correlation_age_and_target,
 corr(duration,y) AS correlation_duration_and_target,
 corr(campaign,y) AS correlation_campaign_and_target,
 corr(contact,y) AS correlation_contact_and_target
FROM ( SELECT age , duration , campaign , y ,
 CASE WHEN contact = 'telephone' THEN 1 ELSE 0 END AS contact
 FROM datasource
 ) datasource ;
"""
console = Console(highlight=False)


class CommandFailed(Exception):
    """A command of the demo did not do what it should; its own words have been printed."""


def main() -> int:
    options = _options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    try:
        with Ministack(FOLDER / "ministack") as table:
            if options.engine == "aws":
                from demo.predict_aws import demonstrate as on_aws

                return on_aws(table, _calls(options), options.rate, PRESENT)
            return demonstrate(table, _calls(options), options.rate)
    except (ServerUnavailable, CommandFailed) as error:
        console.print(f"[red]{error}")
        return 1
    except KeyboardInterrupt:
        console.print("Stopped.")
        return 130


def demonstrate(table: Ministack, calls: Sequence[bank.BankRow], rate: int) -> int:
    made = round(len(calls) * PRESENT)
    title("A table in DynamoDB", f"by {table.endpoint}")
    bank.put(calls[:made], table.target(), "bank")
    console.print(f"bank has {made:,} items, calls of a bank and their outcomes (y).")
    (FOLDER / "whimbrel.toml").write_text(PROJECT.format(endpoint=table.endpoint))
    (FOLDER / "correlation.sql").write_text(CORRELATION)

    title("Export, convert", "DynamoDB's own export format, then typed Parquet")
    whimbrel("export", "bank")
    whimbrel("convert", "bank")
    title("SQL", "correlation.sql: which attributes correlate with y")
    whimbrel("query", "--file", "correlation.sql")
    title("Train", "judged by the newest fifth of the calls")
    whimbrel("train")
    title("Serve", "as a SageMaker endpoint does")
    with _server() as url:
        _predict(url, as_csv(calls[made]))
        title("Renew", f"while {rate} predictions a second are asked for")
        with Load(url, [as_csv(row) for row in calls[made:]], rate) as load:
            bank.put(calls[made:], table.target(), "bank")
            console.print(f"The application has written {len(calls) - made:,} more calls, with their outcomes.")
            line = whimbrel_json("renew")
            load.stay(1.0)
    report(line, load, calls)
    _what_next()
    return 1 if load.failed or line["outcome"] != "renewed" else 0


class Load:
    """Asks for predictions at a steady rate while it is entered, over keep-alive connections of a thread each."""

    def __init__(self, url: str, rows: Sequence[str], rate: int, connections: int = 4) -> None:
        self.failed: list[str] = []
        self.versions: Counter[str] = Counter()  # in the order in which they first answered
        self.seconds: list[float] = []
        self._address, self._rows, self._every = url.removeprefix("http://"), rows, connections / rate
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(n / rate, n)) for n in range(connections)]

    def stay(self, seconds: float) -> None:
        """Go on for so long."""
        self._done.wait(seconds)

    def _ask(self, offset: float, first: int) -> None:
        connection, due = http.client.HTTPConnection(self._address, timeout=10), time.monotonic() + offset
        for number in count(first):
            if self._done.wait(max(0.0, due - time.monotonic())):
                break
            due += self._every
            began = time.monotonic()
            try:
                self.versions[self._answer(connection, self._rows[number % len(self._rows)])] += 1
            except (OSError, http.client.HTTPException, ValueError, LookupError) as error:
                self.failed.append(repr(error))
                connection.close()
            self.seconds.append(time.monotonic() - began)
        connection.close()

    def _answer(self, connection: http.client.HTTPConnection, row: str) -> str:
        """The version that answered. Raises what an answer that is not one good prediction gives."""
        connection.request("POST", "/endpoints/ServiceEndpoint/invocations", row, {"Content-Type": "text/csv"})
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise ValueError(f"{answer.status} {body[:200]!r}")
        [prediction] = json.loads(body)["predictions"]
        if not 0 <= prediction["score"] <= 1:
            raise ValueError(f"no score: {prediction}")
        return str(answer.headers["x-whimbrel-model-version"])

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()


@contextmanager
def _server() -> Iterator[str]:
    """``whimbrel serve`` in a process of its own; its address."""
    typed("$ whimbrel serve")
    with (FOLDER / "serve.txt").open("wb") as log:
        server = subprocess.Popen(
            _command("serve", "--json", "--port", "0"), cwd=FOLDER, stdout=subprocess.PIPE, stderr=log
        )
    assert server.stdout
    try:
        line = server.stdout.readline()
        if not line:
            raise CommandFailed((FOLDER / "serve.txt").read_text())
        yield str(json.loads(line)["url"])
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()


def _predict(url: str, row: str) -> None:
    """A prediction as the post's program asks for one, and the line for a shell."""
    import boto3

    client = boto3.client(
        "sagemaker-runtime",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="any",
        aws_secret_access_key="any",
    )
    answer = client.invoke_endpoint(EndpointName="ServiceEndpoint", Body=row, ContentType="text/csv")
    typed(f">>> client = boto3.client('sagemaker-runtime', endpoint_url='{url}', region_name='us-east-1')")
    typed(f">>> client.invoke_endpoint(EndpointName='ServiceEndpoint', ContentType='text/csv', Body='{row}')")
    console.print(answer["Body"].read().decode())
    curl = ["curl", "-s", f"{url}/endpoints/ServiceEndpoint/invocations", "-H", "Content-Type: text/csv", "-d", row]
    typed(f"$ {shlex.join(curl)}")
    if shutil.which("curl"):
        console.print(subprocess.run(curl, capture_output=True, text=True, check=False).stdout)


def typed(line: str) -> None:
    """What a person would type, in one line, to be copied."""
    console.print(line, style="dim", markup=False, soft_wrap=True)


def whimbrel(*words: str) -> None:
    typed(f"$ whimbrel {shlex.join(words)}")
    sys.stdout.flush()
    if subprocess.run(_command(*words), cwd=FOLDER, check=False).returncode:
        raise CommandFailed(f"whimbrel {words[0]} failed")


def whimbrel_json(*words: str) -> dict[str, Any]:
    typed(f"$ whimbrel {shlex.join(words)}")
    done = subprocess.run(_command(*words, "--json"), cwd=FOLDER, stdout=subprocess.PIPE, check=False)
    said: dict[str, Any] = json.loads(done.stdout or b"{}")
    if done.returncode:
        raise CommandFailed(f"whimbrel {words[0]} failed: {said}")
    return said


def _command(*words: str) -> list[str]:
    return [sys.executable, "-m", "whimbrel", *words]


def as_csv(row: bank.BankRow) -> str:
    return ",".join(str(value) for name, value in row.items() if name not in NOT_INPUTS)


def report(line: dict[str, Any], load: Load, calls: Sequence[bank.BankRow]) -> None:
    results = line["results"]
    gate = results["gate"]
    grid = Table(title="Report", show_header=False, title_justify="left")
    cuts = statistics.quantiles(load.seconds, n=100)
    for name, value in (
        ("data set", f"{results['convert']['rows']:,} rows; {results['export']['items']:,} were exported"),
        ("the gate", f"on the newest {gate.get('rows', 0):,} calls: {gate['reason']}"),
        ("outcome", line["outcome"]),
        ("steps", ", ".join(f"{step} {result['seconds']:.1f} s" for step, result in results.items())),
        ("predictions meanwhile", f"{len(load.seconds):,}, {len(load.failed):,} failed"),
        ("by version", ", then ".join(f"{version} {calls:,}" for version, calls in load.versions.items())),
        ("latency", f"{cuts[49] * 1000:.1f} ms at the median, {cuts[98] * 1000:.1f} ms at 99 %"),
    ):
        grid.add_row(name, value)
    console.print()
    console.print(grid)
    for failure in load.failed[:3]:
        console.print(f"[red]{failure}")


def _what_next() -> None:
    text = f"""
Next:
  cd {FOLDER} && . ../../.venv/bin/activate
  whimbrel serve                      # again, with the new model: its page is at http://127.0.0.1:8080
  whimbrel query                      # an SQL shell, with history and completion
  ls .whimbrel/models/subscribes/*    # the models; each has a report.html
On your own table: leave the endpoint out of [target] and name your table; `whimbrel schedule` renews by the clock
(docs/lake.md, docs/predict.md, docs/serve.md, docs/renew.md).
The original data: make demo-predict DATA=bank-additional-full.csv
"""
    console.print(text, markup=False, soft_wrap=True)


def title(head: str, text: str) -> None:
    console.print(f"\n[bold]{head}[/bold]  {text}")


def _calls(options: argparse.Namespace) -> list[bank.BankRow]:
    """The calls with the order in which they were made, which the original has by its lines."""
    rows = bank.calls(options.data, options.rows or (bank.ORIGINAL_ROWS if options.data else 12_000), options.seed)
    return [row | {"called": number} for number, row in enumerate(rows, 1)]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make demo-predict", description="SQL, prediction and renewal over a table.")
    parser.add_argument("--data", type=Path, help="the original bank-additional-full.csv instead of made-up calls")
    parser.add_argument(
        "--engine", choices=["local", "aws"], default="local", help="aws: on stand-ins for S3, SageMaker"
    )
    parser.add_argument("--rows", type=int, help="calls; 12,000 made-up ones, or all of the original")
    parser.add_argument("--rate", type=int, default=100, help="predictions a second during the renewal")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    os.environ.setdefault("COLUMNS", "120")
    sys.exit(main())
