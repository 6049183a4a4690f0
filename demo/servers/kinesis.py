"""A stand-in for Kinesis on this machine."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from functools import cached_property
from pathlib import Path
from typing import Any

from demo.from_debian import servers_folder
from demo.servers.dynamo import local_client
from demo.servers.process import Server, ServerUnavailable, program


class Kinesalite(Server):
    """kinesalite from npm, on LevelDB: keeps its streams through a SIGKILL. Records have 1 MiB at most."""

    name = "kinesalite"
    region = "us-east-1"

    @property
    def endpoint(self) -> str:
        return f"http://{self.host}:{self.port}"

    @cached_property
    def client(self) -> Any:
        """boto3's client, with credentials that work here and nowhere else."""
        return local_client("kinesis", self.endpoint, self.region)

    def new_stream(self, name: str, shards: int) -> None:
        """To be used at once."""
        self.client.create_stream(StreamName=name, ShardCount=shards)
        self.until_active(name)

    def until_active(self, name: str) -> None:
        """After a change of its shards."""
        while self.client.describe_stream(StreamName=name)["StreamDescription"]["StreamStatus"] != "ACTIVE":
            time.sleep(0.01)

    def _command(self) -> list[str]:
        node = program("node", "apt-get install nodejs npm")
        here = Path(__file__).parents[1] / "kinesalite"
        packages = servers_folder() / "kinesalite"
        if not (packages / "node_modules" / "kinesalite").is_dir():
            raise ServerUnavailable(f"kinesalite: not in {packages}. `make setup-aws` installs it")
        return [node, str(here / "serve.js"), str(packages), str(self.port), str(self.folder / "data")]

    def _answers(self) -> bool:
        headers = {"X-Amz-Target": "Kinesis_20131202.ListStreams", "Content-Type": "application/x-amz-json-1.1"}
        try:
            urllib.request.urlopen(urllib.request.Request(self.endpoint, b"{}", headers), timeout=5).close()
        except urllib.error.HTTPError as error:
            error.close()
            return error.code < 500  # unsigned, and refused by a server that is up
        except OSError:
            return False
        return True
