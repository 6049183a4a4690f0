"""A function with its event source mapping in a process of its own, so that it can be killed:
``python -m tests.function.serve STREAM KINESIS DYNAMODB``.

The mapping's place does not outlive the process: the stream comes again from its oldest record, which is more than
Lambda ever repeats.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import boto3

from tests.function.event_source import Event, EventSource
from whimbrel.function import invocation
from whimbrel.function.known import Known
from whimbrel.project import Target

CALL_SECONDS, LEFT_SECONDS = 1.0, 5.0


def main(stream: str, kinesis: str, dynamodb: str) -> None:
    invocation.QUIET_SECONDS = 0.5  # on one machine, what was sent is there
    known = Known(Target(endpoint=dynamodb, region="us-east-1"), CALL_SECONDS)
    keys: dict[str, Any] = {"aws_access_key_id": "local", "aws_secret_access_key": "local", "region_name": "us-east-1"}

    def invoke(event: Event) -> Any:
        return invocation.Invocation(known, event["Records"], LEFT_SECONDS).run()

    mapping = EventSource(boto3.client("kinesis", endpoint_url=kinesis, **keys), stream, invoke, batch=200)
    while True:
        if not mapping.step():
            time.sleep(0.02)


if __name__ == "__main__":
    main(*sys.argv[1:])
