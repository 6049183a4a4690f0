"""A full export of bank items becomes a data set: in a folder; from and to S3, a stand-in in a process of its own; and
in a folder, published as an Iceberg table too. CPU of whole commands; of the publishing also by itself.

``python -m benchmarks.published [--items N] [--rounds N]``
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from itertools import islice
from pathlib import Path
from typing import Any

import boto3
import orjson

from demo import bank
from demo.servers import Ministack
from whimbrel.lake.chain_file import Chain, chain_bytes
from whimbrel.lake.native import FOLDER, DataWriter, full_summary, new_data_name, new_export_id, write_manifests

FILES = 8
TIME = "2026-01-14T10:18:50.622Z"
DATASET = '[[dataset]]\ntable = "bank"\nname = "bank"\nkey = ["customer_id"]\n'
# Publishes the data set that is there, and says what CPU that took once everything was imported.
PUBLISH = """
import sys, time
from whimbrel.lake import iceberg
from whimbrel.lake.opened import open_lake
from whimbrel.project import load_project
project = load_project(sys.argv[1])
began = time.process_time()
with open_lake(project) as lake:
    iceberg.publish(project, lake, "bank", 5, 0)
print(time.process_time() - began)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    os.environ.update(AWS_ACCESS_KEY_ID="local", AWS_SECRET_ACCESS_KEY="local")
    with tempfile.TemporaryDirectory() as folder, Ministack(Path(folder) / "server") as server:
        export = Path(folder) / "export"
        identity = write_export(export, options.items)
        found: dict[str, list[float]] = {"folder": [], "S3": [], "folder, published": [], "publishing alone": []}
        for number in range(options.rounds):
            place = Path(folder) / str(number)
            found["folder"].append(convert(local(place / "a", export)))
            found["S3"].append(convert(shared(place / "b", export, identity, server, f"bench{number}")))
            project = local(place / "c", export, 'publish = "iceberg"\n')
            found["folder, published"].append(convert(project))
            (project.parent / "lake" / "iceberg.db").unlink()
            command = [sys.executable, "-c", PUBLISH, str(project)]
            found["publishing alone"].append(float(subprocess.run(command, capture_output=True, check=True).stdout))
        print(f"{options.items:,} items in {FILES} files      CPU s  µs an item  folder = 1")
        for name, seconds in found.items():
            cpu, base = statistics.median(seconds), statistics.median(found["folder"])
            print(f"{name:<33}{cpu:>6.2f}{cpu / options.items * 1e6:>12.2f}{cpu / base:>12.2f}")


def write_export(root: Path, items: int) -> str:
    """As a native export; its id."""
    rows, identity = bank.rows(items, 0), new_export_id()
    folder, files = root / FOLDER / identity, []
    for _ in range(FILES):
        name = new_data_name()
        writer = DataWriter(folder / "data" / name, f"{FOLDER}/{identity}/data/{name}")
        writer.write([orjson.dumps({"Item": bank.item(row)}) for row in islice(rows, -(-items // FILES))])
        files.append(writer.close())
    count = sum(file.items for file in files)
    write_manifests(folder, full_summary(identity, "arn:aws:dynamodb:::table/bank", "t", (TIME, TIME), count), files)
    return identity


def local(folder: Path, export: Path, dataset: str = "") -> Path:
    place = folder / "lake" / "exports"
    place.mkdir(parents=True)
    shutil.copytree(export, place / "bank", copy_function=os.link)
    file = folder / "whimbrel.toml"
    file.write_text(f'[target]\nendpoint = "http://127.0.0.1:1"\n{DATASET}{dataset}')
    return file


def shared(folder: Path, export: Path, identity: str, server: Any, bucket: str, dataset: str = "") -> Path:
    folder.mkdir(parents=True)
    s3 = boto3.client("s3", endpoint_url=server.endpoint, region_name="us-east-1")
    s3.create_bucket(Bucket=bucket)
    for path in export.rglob("*"):
        if path.is_file():
            s3.upload_file(str(path), bucket, f"lake/exports/bank/{path.relative_to(export)}")
    chain = Chain("t", (("customer_id", "S"),), identity, TIME, exports=(identity,))
    s3.put_object(Bucket=bucket, Key="lake/exports/bank/chain.json", Body=chain_bytes(chain))
    file = folder / "whimbrel.toml"
    where = f'[lake]\nfolder = "s3://{bucket}/lake"\n'
    where += f's3_endpoint = "{server.endpoint}"\nglue_endpoint = "{server.endpoint}"\n'
    file.write_text(f'[target]\nendpoint = "{server.endpoint}"\nregion = "us-east-1"\n{where}{DATASET}{dataset}')
    return file


def convert(project: Path) -> float:
    """CPU seconds of the whole command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "whimbrel", "convert", "-p", str(project), "bank"]
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
