"""The function's entry point: ``whimbrel.function.handler.handler``, for a batch of a Kinesis stream.

Environment: ``WHIMBREL_MARK`` names the table of marks; region and credentials are the function's own. With
``WHIMBREL_OTHER_SENDERS=skip`` changes that another sender put into the stream are passed over.
"""

from __future__ import annotations

import os
from dataclasses import replace
from functools import cache
from typing import Any

from whimbrel.function.invocation import Invocation
from whimbrel.function.known import Known
from whimbrel.function.metrics import line_of
from whimbrel.memory import few_collections
from whimbrel.project import Target

CALL_SECONDS = 5.0  # that a call to DynamoDB may take


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Raises what makes all of the batch come again: what no deadline ends, such as a missing permission."""
    left = context.get_remaining_time_in_millis() / 1000
    with few_collections():
        invocation = Invocation(_known(), event["Records"], left)
        try:
            return invocation.run()
        finally:
            print(line_of(invocation.stream, invocation.done).decode(), flush=True)


@cache
def _known() -> Known:
    default = Target()
    target = replace(default, mark=os.environ.get("WHIMBREL_MARK", default.mark))
    return Known(target, CALL_SECONDS, skips_others=os.environ.get("WHIMBREL_OTHER_SENDERS") == "skip")
