"""The forms that make one item of many rows, loaded by Spark and by an import of DynamoDB's: a snapshot, which that
engine loads, and the changes after it. An import is given those that share no items: it refuses others by name.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from demo.servers import MariaDB, Ministack
from demo.servers.dynamo import local_client
from tests.cases.case import CASES, Case
from tests.cases.test_cases import check
from tests.cases.ways import Way
from tests.conftest import unique
from tests.e2e.spark import spark_folder
from whimbrel.errors import MappingError
from whimbrel.project import Store
from whimbrel.project.spark import Spark

ALONE = (
    "tags-that-several-lines-give",
    "group-split-over-items",
    "json-of-a-column-as-a-map",
    "adjacency-list-in-both-directions",
)
SHARED = ("maps-in-maps", "list-of-plain-values")


def cases_of(server: MariaDB, names: tuple[str, ...]) -> list[Case]:
    cases = [Case(CASES / name) for name in names]
    server.execute(*(f"DROP DATABASE IF EXISTS `{case.name}`" for case in cases))
    server.execute(*(f"CREATE DATABASE `{case.name}`" for case in cases))
    for step in ("schema", "data"):
        for case in cases:
            case.run(server, step)
    return cases


def try_by(server: MariaDB, endpoint: Ministack, folder: Path, names: tuple[str, ...], **engine: Any) -> None:
    cases = cases_of(server, names)
    way = Way(unique("by"), cases, server, endpoint, folder / "state", **engine)
    way.migrate()
    for case in cases:
        case.run(server, "changes")
    way.migrate()
    for case in cases:
        check(case, way, server.flavor)


@pytest.mark.slow
@pytest.mark.spark
@pytest.mark.timeout(600)
def test_by_spark(mariadb: MariaDB, ministack: Ministack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = spark_folder()
    if isinstance(found, str):
        pytest.skip(found)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(found), os.environ.get("PYTHONPATH")])))
    try_by(mariadb, ministack, tmp_path, (*ALONE, *SHARED), loader="spark", spark=Spark(least_rows=0))


def store_in(ministack: Ministack) -> Store:
    bucket = unique("bucket")
    local_client("s3", ministack.endpoint, ministack.region).create_bucket(Bucket=bucket)
    return Store(bucket, "cases", ministack.endpoint)


@pytest.mark.slow
def test_by_an_import(mariadb: MariaDB, ministack: Ministack, tmp_path: Path) -> None:
    try_by(mariadb, ministack, tmp_path, ALONE, loader="import", store=store_in(ministack))


@pytest.mark.parametrize("name", SHARED)
def test_an_import_refuses_shared_items_by_name(
    mariadb: MariaDB, ministack: Ministack, tmp_path: Path, name: str
) -> None:
    way = Way(
        unique("no"),
        cases_of(mariadb, (name,)),
        mariadb,
        ministack,
        tmp_path / "state",
        loader="import",
        store=store_in(ministack),
    )
    with pytest.raises(MappingError, match="rows of several tables make one item"):
        way.migrate()
