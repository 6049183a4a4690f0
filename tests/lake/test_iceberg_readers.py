"""Iceberg tables as others read them: ClickHouse, and Spark with Iceberg's own package. DuckDB is in test_iceberg."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.lake.helper import full
from tests.lake.test_iceberg import Exports, as_json_has_it, deleted, item, written


@pytest.fixture
def exports(tmp_path: Path) -> Exports:
    return Exports(tmp_path)


@pytest.mark.slow
def test_clickhouse_reads_each_snapshot_by_the_name_mapping(exports: Exports) -> None:
    """It has no NULL among lists and structs, so there is none here."""
    nested = {"m": {"M": {"a": {"N": "1.5"}, "in": {"L": [{"N": "7"}]}}}, "l": {"L": [{"S": "x"}]}}
    wider = {**nested, "m": {"M": {**nested["m"]["M"], "b": {"BOOL": True}}}}
    exports.add([full(**item(pk, **nested, d={"N": "1e-100"})) for pk in range(9)], whole=True)
    exports.convert()
    exports.add([written(3, n={"N": "33"}, **nested), deleted(4), written(5, n={"N": "9007199254740993"}, **nested)])
    exports.convert()
    exports.add([written(100, n={"N": "1"}, new={"S": "ü"}, yes={"BOOL": False}, **wider)])
    exports.convert()
    as_json = {name: orjson.loads(orjson.dumps(rows, default=as_json_has_it)) for name, rows in exports.ours().items()}
    assert len(as_json) == 3
    assert exports.judged().by_clickhouse() == as_json


@pytest.mark.slow
@pytest.mark.timeout(700)
def test_spark_reads_each_snapshot_by_the_name_mapping(exports: Exports) -> None:
    """Every type, nested ones too, and columns that came later."""
    nested = {"m": {"M": {"a": {"N": "1.5"}, "in": {"L": [{"N": "7"}, {"N": "-8"}]}}}, "l": {"L": [{"S": "x"}]}}
    exact = {"d": {"N": "12345678901234567890.25"}, "e": {"N": "1e-100"}, "b": {"B": "AAEC/w=="}, "y": {"BOOL": True}}
    exports.add([full(**item(pk, **(nested | exact if pk % 2 else {}))) for pk in range(9)], whole=True)
    exports.convert()
    exports.add([written(3, n={"N": "33"}, **nested), deleted(4), written(5, n={"N": "9007199254740993"})])
    exports.convert()
    exports.add([written(100, n={"N": "1"}, new={"S": "ü"}, some={"SS": ["a", "b"]}, none={"NULL": True})])
    exports.convert()
    ours = {name: orjson.loads(orjson.dumps(rows, default=_as_spark)) for name, rows in exports.ours().items()}
    assert len(ours) == 3
    assert exports.judged().by_spark() == ours


def _as_spark(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
