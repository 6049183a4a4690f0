"""A migration whose files are in a bucket."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from demo.servers import Ministack
from demo.servers.dynamo import local_client
from demo.shop import CREATE
from tests.conftest import unique
from tests.e2e.work import Work

# A program that ends itself by SIGKILL at the step whose number STEPS says: before or after a call to S3 or of an
# import, or a save of the state folder.
KILLED = """
import os, signal, sys
from botocore.client import BaseClient
from whimbrel import checkpoint
from whimbrel.__main__ import run
from whimbrel.migration import imports
left = int(os.environ["STEPS"])
READS = {"GetObject", "HeadObject", "ListObjectsV2", "DescribeTable", "ListImports"}
def count():
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
def step(real):
    def call(*arguments):
        counts = arguments[1] not in READS if isinstance(arguments[1], str) else True
        counts and count()
        result = real(*arguments)
        counts and count()
        return result
    return call
BaseClient._make_api_call = step(BaseClient._make_api_call)
checkpoint.save = step(checkpoint.save)
imports.replace_file = step(imports.replace_file)
run()
"""


class Stored:
    """A Work whose files are in a bucket of its own; ``more`` are lines of its project file."""

    def __init__(self, work: Work, ministack: Ministack, more: str = "") -> None:
        self.work, self.bucket = work, unique("bucket")
        self.s3 = local_client("s3", ministack.endpoint, ministack.region)
        self.s3.create_bucket(Bucket=self.bucket)
        work.source_settings = "chunk_rows = 2\nconnections = 2"
        self.store = f'[snapshot]\nstore = "s3://{self.bucket}/shop"\nendpoint = "{ministack.endpoint}"\n'
        work.target_settings = f"{work.target_settings}\n{self.store}{more}"
        work.write_project()

    def names(self, part: str = "") -> list[str]:
        found = self.s3.list_objects_v2(Bucket=self.bucket).get("Contents", [])
        return [each["Key"] for each in found if part in each["Key"]]

    def get(self, name: str) -> bytes:
        data: bytes = self.s3.get_object(Bucket=self.bucket, Key=name)["Body"].read()
        return data

    def put(self, name: str, data: bytes) -> None:
        self.s3.put_object(Bucket=self.bucket, Key=name, Body=data)

    def clear(self) -> None:
        for name in self.names():
            self.s3.delete_object(Bucket=self.bucket, Key=name)

    def elsewhere(self, name: str) -> Stored:
        """The same project on another machine: with an empty state folder."""
        other = object.__new__(Stored)
        other.__dict__.update(self.__dict__)
        other.work = replace(self.work, folder=self.work.folder / name)
        other.work.folder.mkdir()
        other.work.write_project()
        return other

    def killed(self, command: str, steps: int) -> None:
        killed = replace(self.work, program=("-c", KILLED), environment={"STEPS": str(steps)})
        process = killed.start(command, *(["--until-caught-up"] if command == "migrate" else []))
        process.communicate(timeout=90)
        assert process.returncode in (0, -9)


def fill(work: Work) -> None:
    lines = [f"('c', 'o{order}', 'p{product}', {order}{product})" for order in range(1, 7) for product in (1, 2)]
    work.source.execute(CREATE, f"INSERT INTO purchase VALUES {', '.join(lines)}", database=work.database)


def change(work: Work) -> None:
    work.source.execute(
        "UPDATE purchase SET quantity = 0 WHERE orderid = 'o2' AND productid = 'p1'",
        "DELETE FROM purchase WHERE orderid = 'o3'",
        "INSERT INTO purchase VALUES ('d', 'o9', 'p1', 91)",
        database=work.database,
    )


def progress(work: Work) -> dict[str, Any]:
    [found] = work.checkpoint()["tables"].values()
    return dict(found)
