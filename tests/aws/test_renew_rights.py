"""The policy of ``renew`` against the calls that it makes, with a lake on this machine and in S3."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("sklearn", reason="the extra 'predict' is not installed")
pytest.importorskip("duckdb", reason="the extra 'lake' is not installed")

from demo.servers import Ministack
from demo.servers.dynamo import local_client
from tests.aws.calls import STREAM, Call, forbidden, noting_objects, of_dynamodb, rights, unused, without_streams
from tests.conftest import unique
from tests.faults import FaultProxy
from tests.prediction.renew.test_bank import World
from whimbrel.project import load_project

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("shared", [False, True], ids=["here", "in S3"])
def test_every_call_is_allowed_and_every_right_is_used(
    tmp_path: Path, ministack: Ministack, new_table_name: Callable[[str], str], shared: bool
) -> None:
    world, bucket, objects = World(tmp_path, ministack, new_table_name("bank")), unique("bucket"), set[Call]()
    local_client("s3", ministack.endpoint, ministack.region).create_bucket(Bucket=bucket)
    lines = "[lake]\nkeep = 1\nkeep_exports = 1\n"
    if shared:
        lines += f'folder = "s3://{bucket}/lake"\ns3_endpoint = "{ministack.endpoint}"\n'
    with FaultProxy(ministack.endpoint) as proxy:
        world.settings(lines)
        file = tmp_path / "whimbrel.toml"
        file.write_text(file.read_text().replace(ministack.endpoint, proxy.endpoint, 1))
        for first in (0, 600):
            world.write(first, first + 600)
            with noting_objects(objects):
                world.renew()
        made = objects | {call for each in proxy.log for call in of_dynamodb(each)}
    allowed = without_streams(rights(load_project(file), "renew"))
    assert forbidden(allowed, made) == set()
    # The table has no stream. What is older than what is kept is removed after a week, and parts after a failure.
    unseen = {f"dynamodb:{name}" for name in STREAM} | {"s3:AbortMultipartUpload", "s3:DeleteObject"}
    assert {each.action for each in unused(allowed, made)} <= unseen
