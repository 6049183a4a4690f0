"""A stream and a function between the two sides of a site, for what is killed and split in cutovers and rollbacks."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from demo.resharding import merge, open_shards, split
from demo.servers import DynamoServer, Kinesalite
from demo.servers.process import Server
from tests.conftest import unique

MOST_SHARDS = 10  # that there have ever been: the stand-in polls them all


class FunctionProcess(Server):
    """``demo.function``: the function with its mapping, which reads the stream again from its beginning."""

    name = "function"

    def __init__(self, folder: Path, stream: str, kinesis: str, dynamodb: str) -> None:
        super().__init__(folder)
        self._arguments = [stream, kinesis, dynamodb]

    def _command(self) -> list[str]:
        return [sys.executable, "-m", "demo.function", *self._arguments, "5"]

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}

    def _answers(self) -> bool:
        return True


class Through:
    def __init__(self, kinesis: Kinesalite, dynamodb: DynamoServer, folder: Path) -> None:
        self.kinesis, self.stream = kinesis, unique("stream")
        kinesis.new_stream(self.stream, 2)
        self.function = FunctionProcess(folder / "function", self.stream, kinesis.endpoint, dynamodb.endpoint)

    @property
    def project_lines(self) -> str:
        return (
            f'[log]\nengine = "kinesis"\nstream = "{self.stream}"\nendpoint = "{self.kinesis.endpoint}"\n'
            '[apply]\nengine = "lambda"\n'
        )

    def reshard(self, chance: random.Random) -> None:
        """Split a shard, or merge two."""
        ever = self.kinesis.client.describe_stream(StreamName=self.stream)["StreamDescription"]["Shards"]
        if len(ever) >= MOST_SHARDS:
            return
        if len(open_shards(self.kinesis, self.stream)) > 1 and chance.random() < 0.5:
            merge(self.kinesis, self.stream)
        else:
            split(self.kinesis, self.stream, chance)


@contextmanager
def through(dynamodb: DynamoServer, folder: Path) -> Iterator[Through]:
    """On a server of its own, which may be killed."""
    with Kinesalite(folder / "kinesis").start() as kinesis:
        made = Through(kinesis, dynamodb, folder)
        with made.function:
            yield made
