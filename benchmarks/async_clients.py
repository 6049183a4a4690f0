"""Writing by other clients of DynamoDB, in the rivals' environment: pydynox (Rust) and aiodynamo (asyncio and aiohttp).

Run as a script: its input is JSON ``{"client": …, "work": "put" or "update", "endpoint": …, "items": [plain items]}``,
its output ``[CPU seconds, seconds by the clock]`` of the second of two runs. IN_FLIGHT calls are under way at a time.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

IN_FLIGHT = 16
BATCH = 25
TABLE = "purchases"
Calls = list[Callable[[], Awaitable[Any]]]


async def main(job: dict[str, Any]) -> tuple[float, float]:
    make = {"pydynox": with_pydynox, "aiodynamo": with_aiodynamo}[job["client"]]
    return await make(job)


async def with_pydynox(job: dict[str, Any]) -> tuple[float, float]:
    from pydynox import DynamoDBClient

    client = DynamoDBClient(region="us-east-1", access_key="x", secret_key="x", endpoint_url=job["endpoint"])
    if job["work"] == "put":
        return await timed([partial(client.batch_write, TABLE, part) for part in batches(job["items"])])
    change: dict[str, Any] = {
        "update_expression": "SET #0=:0 REMOVE #1",
        "expression_attribute_names": {"#0": "product003", "#1": "product004"},
        "expression_attribute_values": {":0": 7},
    }
    return await timed([partial(client.update_item, TABLE, key(item), **change) for item in job["items"]])


async def with_aiodynamo(job: dict[str, Any]) -> tuple[float, float]:
    from aiodynamo.client import Client
    from aiodynamo.credentials import Key, StaticCredentials
    from aiodynamo.expressions import F
    from aiodynamo.http.aiohttp import AIOHTTP
    from aiodynamo.models import BatchWriteRequest
    from aiohttp import ClientSession
    from yarl import URL

    async with ClientSession() as session:
        client = Client(AIOHTTP(session), StaticCredentials(Key("x", "x")), "us-east-1", URL(job["endpoint"]))
        if job["work"] == "put":
            requests = [{TABLE: BatchWriteRequest(items_to_put=part)} for part in batches(job["items"])]
            return await timed([partial(client.batch_write, request) for request in requests])
        change = F("product003").set(7) & F("product004").remove()
        return await timed([partial(client.update_item, TABLE, key(item), change) for item in job["items"]])


def batches(items: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    return [items[start : start + BATCH] for start in range(0, len(items), BATCH)]


def key(item: dict[str, Any]) -> dict[str, Any]:
    return {name: item[name] for name in ("customerid", "orderid")}


async def timed(calls: Calls) -> tuple[float, float]:
    await run(calls)  # opens connections and warms caches
    cpu, wall = time.process_time(), time.perf_counter()
    await run(calls)
    return time.process_time() - cpu, time.perf_counter() - wall


async def run(calls: Calls) -> None:
    left = iter(calls)

    async def one_after_the_other() -> None:
        for call in left:
            await call()

    await asyncio.gather(*(one_after_the_other() for _ in range(IN_FLIGHT)))


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(json.load(sys.stdin)))))
