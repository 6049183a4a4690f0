"""Machines that share a lake in S3: each has a folder and a project file of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from demo.servers import DynamoServer, Ministack
from demo.servers.dynamo import local_client
from tests.conftest import unique
from tests.killed_at_a_write import killed_at
from whimbrel.cli.main import main

# A program that ends itself by SIGKILL at the write whose number STEPS says: before or after a call that changes what
# is in S3.
KILLED = killed_at(("PutObject", "DeleteObjects", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"))


class Bucketed:
    """A bucket of its own, with a lake at ``lake``."""

    def __init__(self, ministack: Ministack) -> None:
        self.name, self.endpoint = unique("bucket"), ministack.endpoint
        self.s3 = local_client("s3", ministack.endpoint, ministack.region)
        self.s3.create_bucket(Bucket=self.name)

    def names(self, part: str = "") -> list[str]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.name)
        return [each["Key"] for page in pages for each in page.get("Contents", []) if part in each["Key"]]

    def get(self, name: str) -> bytes:
        data: bytes = self.s3.get_object(Bucket=self.name, Key=name)["Body"].read()
        return data

    def put(self, name: str, data: bytes) -> None:
        self.s3.put_object(Bucket=self.name, Key=name, Body=data)

    def machine(self, folder: Path, server: DynamoServer, more: str = "", lake: str = "") -> Machine:
        folder.mkdir()
        target = f'[target]\nendpoint = "{server.endpoint}"\nregion = "us-east-1"\n'
        where = f'[lake]\nfolder = "s3://{self.name}/lake"\ns3_endpoint = "{self.endpoint}"\n'
        (folder / "whimbrel.toml").write_text(f"{target}{where}segments = 3\n{lake}{more}")
        return Machine(folder)


class Machine:
    def __init__(self, folder: Path) -> None:
        self.folder, self.project = folder, folder / "whimbrel.toml"

    def call(self, *arguments: str) -> Result:
        return CliRunner().invoke(main, [arguments[0], "-p", str(self.project), *arguments[1:]], catch_exceptions=False)

    def run(self, *arguments: str, code: int = 0) -> str:
        result = self.call(*arguments)
        assert result.exit_code == code, result.output
        return result.output

    def rows(self, table: str, *arguments: str) -> dict[str, Any]:
        """By partition key, n."""
        said = self.run("query", "-f", "json", *arguments, f'SELECT pk, n FROM "{table}"')
        return {row["pk"]: row["n"] for row in map(json.loads, said.splitlines())}

    def killed(self, steps: int, *arguments: str) -> bool:
        """Whether the command was killed before it was done."""
        command = [sys.executable, "-c", KILLED, arguments[0], "-p", str(self.project), *arguments[1:]]
        done = subprocess.run(command, env={**os.environ, "STEPS": str(steps)}, capture_output=True, timeout=60)
        assert done.returncode in (0, -9), done.stderr.decode()
        return done.returncode == -9
