"""The data of a renewal where one item in a hundred has changed, beside that of a full one: DynamoDB's exports of a
table, full and of a day's changes, become a data set, in a folder and in S3, and both published as an Iceberg table,
too, in S3 by Glue. And a training, which reads the whole data set either way. CPU of whole commands, their start in it.

``python -m benchmarks.renewed [--items N] [--rounds N]``
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import boto3
import orjson

from benchmarks.commands import run
from benchmarks.published import local, shared, write_export
from demo import bank
from demo.servers import Ministack
from whimbrel.lake.chain_file import chain_bytes, chain_in
from whimbrel.lake.native import (
    FOLDER,
    DataWriter,
    incremental_summary,
    new_data_name,
    new_export_id,
    write_manifests,
)

CHANGED = 100  # one in so many
ARN, KEY = "arn:aws:dynamodb:::table/bank", "lake/exports/bank"
MODEL = '[[model]]\nname = "bank"\ntarget = "y"\nexclude = ["customer_id"]\n'


class WithGlue(Ministack):
    def _environment(self) -> dict[str, str]:
        found = super()._environment()
        return found | {"SERVICES": f"{found['SERVICES']},glue"}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    os.environ.update(AWS_ACCESS_KEY_ID="local", AWS_SECRET_ACCESS_KEY="local")
    with tempfile.TemporaryDirectory() as name, WithGlue(Path(name) / "server") as server:
        folder = Path(name)
        without_pandas(folder / "hidden")
        glue = boto3.client("glue", endpoint_url=server.endpoint, region_name="us-east-1")
        glue.create_database(DatabaseInput={"Name": "whimbrel"})
        identity = write_export(folder / "export", options.items)
        projects = {
            "folder": local(folder / "a", folder / "export", MODEL),
            "S3": shared(folder / "b", folder / "export", identity, server, "plain"),
            "folder, published": local(folder / "c", folder / "export", f'publish = "iceberg"\n{MODEL}'),
            "S3, published": shared(
                folder / "d", folder / "export", identity, server, "published", 'publish = "iceberg"\n'
            ),
        }
        full = {way: run(("convert", "bank"), project).cpu for way, project in projects.items()}
        seen: dict[str, list[float]] = {way: [] for way in projects}
        for turn in range(1, options.rounds + 1):
            export = folder / f"export{turn}"
            added = write_changes(export, options.items, turn)
            for way, project in projects.items():
                if way.startswith("S3"):
                    upload(export, added, server, "published" if "published" in way else "plain", turn)
                else:
                    link(export, project.parent / "lake" / "exports" / "bank")
                seen[way].append(run(("convert", "bank"), project).cpu)
        training = run(("train",), projects["folder"]).cpu
    print(table(options.items, full, {way: statistics.median(each) for way, each in seen.items()}, training))


def without_pandas(folder: Path) -> None:
    """PyArrow imports pandas where it is installed, as it is for the tests. whimbrel does not need it."""
    folder.mkdir()
    (folder / "pandas.py").write_text("raise ImportError\n")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))


def write_changes(root: Path, items: int, turn: int) -> str:
    """As DynamoDB exports the changes of the day ``turn``: other items each day, all over the table. Its id."""
    identity, name = new_export_id(), new_data_name()
    writer = DataWriter(root / FOLDER / "data" / name, f"{FOLDER}/data/{name}")
    writer.write(list(lines(items, turn)))
    files = [writer.close()]
    window = (moment(turn - 1), moment(turn))
    summary = incremental_summary(identity, ARN, "t", (moment(turn), moment(turn)), window, files[0].items, "NEW_IMAGE")
    (root / FOLDER / identity).mkdir()
    write_manifests(root / FOLDER / identity, summary, files)
    return identity


def lines(items: int, turn: int) -> Iterator[bytes]:
    for place, row in enumerate(bank.rows(items // CHANGED, turn)):
        key = {"customer_id": {"S": str(place * CHANGED + turn)}}
        written = {"WriteTimestampMicros": {"N": str(1_768_400_000_000_000 + turn)}}
        yield orjson.dumps({"Metadata": written, "Keys": key, "NewImage": bank.item(row) | key})


def moment(day: int) -> str:
    return f"2026-01-{14 + day}T10:18:50.622Z"


def link(export: Path, place: Path) -> None:
    for path in export.rglob("*"):
        if path.is_file():
            to = place / path.relative_to(export)
            to.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, to)


def upload(export: Path, identity: str, server: Ministack, bucket: str, turn: int) -> None:
    s3 = boto3.client("s3", endpoint_url=server.endpoint, region_name="us-east-1")
    for path in export.rglob("*"):
        if path.is_file():
            s3.upload_file(str(path), bucket, f"{KEY}/{path.relative_to(export)}")
    chain = chain_in(s3.get_object(Bucket=bucket, Key=f"{KEY}/chain.json")["Body"].read(), KEY)
    later = replace(chain, last=identity, as_of=moment(turn), exports=(*chain.exports, identity))
    s3.put_object(Bucket=bucket, Key=f"{KEY}/chain.json", Body=chain_bytes(later))


def table(items: int, full: dict[str, float], renewed: dict[str, float], training: float) -> str:
    made = [f"{f'{items:,} items, 1 % changed':<33}{'full':>8}{'renewal':>9}   CPU s{'renewal : full':>18}"]
    for way, base in full.items():
        made.append(f"{way:<33}{base:>8.2f}{renewed[way]:>9.2f}{'':>8}{renewed[way] / base:>17.1%}")
    base, part = full["folder"] + training, renewed["folder"] + training
    made.append(f"{'folder, with a training':<33}{base:>8.2f}{part:>9.2f}{'':>8}{part / base:>17.1%}")
    return "\n".join(made)


if __name__ == "__main__":
    main()
