"""A table with a stream, and a project with a lake on this machine and a bucket for imports."""

from __future__ import annotations

from pathlib import Path

from demo.servers import Ministack
from demo.servers.dynamo import local_client
from tests.conftest import unique
from tests.lake.machines import Machine
from tests.lake.test_export import key, new_table


class LocalLake:
    """``endpoint`` is where its commands find DynamoDB, ``profile`` who they are there."""

    def __init__(self, folder: Path, ministack: Ministack, table: str, endpoint: str, profile: str = "") -> None:
        self.table, self.bucket = table, unique("bucket")
        self.client = new_table(ministack, table, 20, stream="NEW_AND_OLD_IMAGES")
        local_client("s3", ministack.endpoint, ministack.region).create_bucket(Bucket=self.bucket)
        self.machine = Machine(folder)
        self.project = self.machine.project
        self.project.write_text(
            f'[target]\nendpoint = "{endpoint}"\nregion = "us-east-1"\nprofile = "{profile}"\n[lake]\nsegments = 3\n'
            f'[snapshot]\nstore = "s3://{self.bucket}/shop"\nendpoint = "{ministack.endpoint}"\n'
            f'[[dataset]]\ntable = "{table}"\nkey = ["pk", "sk"]\n'
        )

    def export(self) -> None:
        """In each way that there is."""
        self.machine.run("export", self.table)
        self.put(1, -1)
        self.machine.run("export", self.table, "--stream")
        self.put(2, -2)
        self.machine.run("export", self.table, "--compare")
        self.machine.run("export", self.table, "--full")

    def restore(self) -> None:
        """Into a table that is made, into an empty one, and by an import."""
        self.remove()
        self.machine.run("restore", self.table)
        self.empty()
        self.machine.run("restore", self.table)
        self.remove()
        self.machine.run("restore", self.table, "--import")

    def put(self, number: int, n: int) -> None:
        self.client.put_item(TableName=self.table, Item=key(number) | {"n": {"N": str(n)}})

    def remove(self) -> None:
        self.client.delete_table(TableName=self.table)
        self.client.get_waiter("table_not_exists").wait(TableName=self.table, WaiterConfig={"Delay": 1})

    def empty(self) -> None:
        for item in self.client.scan(TableName=self.table)["Items"]:
            self.client.delete_item(TableName=self.table, Key={name: item[name] for name in ("pk", "sk")})
