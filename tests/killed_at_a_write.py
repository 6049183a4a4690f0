"""A whimbrel that ends itself by SIGKILL at one of its writes to AWS: before it, or after it."""

from __future__ import annotations

from collections.abc import Iterable

PROGRAM = """
import os, signal
from botocore.client import BaseClient
from whimbrel.__main__ import run
left = int(os.environ["STEPS"])
def count(operation):
    global left
    left -= operation.startswith({writes!r})
    if left <= 0:
        os.kill(os.getpid(), signal.SIGKILL)
def call(*arguments):
    count(arguments[1])
    result = real(*arguments)
    count(arguments[1])
    return result
real, BaseClient._make_api_call = BaseClient._make_api_call, call
run()
"""


def killed_at(writes: Iterable[str]) -> str:
    """A program for ``python -c``. ``writes`` are how names of operations begin; the environment's STEPS says at which
    of them it ends, each counted twice.
    """
    return PROGRAM.format(writes=tuple(writes))
