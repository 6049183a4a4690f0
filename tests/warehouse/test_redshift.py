"""Redshift, by a stand-in (redshift_stand_in.py says what that cannot show): the load and changes come by COPY from S3,
and sqlglot reads every statement in Redshift's dialect.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from demo.servers import MariaDB, Ministack, PostgreSQL
from tests.conftest import unique
from tests.warehouse.places import Place, assert_same
from tests.warehouse.redshift_stand_in import FUNCTIONS, RedshiftStandIn, assert_read_by_sqlglot, s3_of

TABLE = """CREATE TABLE t (id INT, k VARCHAR(10), n BIGINT UNSIGNED, d DECIMAL(12,3), f DOUBLE, day DATE,
  at TIMESTAMP(3) NULL, t TIME(2), data VARBINARY(10), j LONGTEXT, PRIMARY KEY (id, k))"""
ROWS = """INSERT INTO t SELECT seq, CONCAT('k\\t', seq), 18446744073709551615 - seq, seq / 3, 1 / seq, '2026-01-31',
  '2026-01-31 12:00:00.5', '-100:00:00.25', x'00ff', IF(seq % 2, '{"a": 1}', NULL) FROM seq_1_to_120"""


@pytest.fixture
def redshift(
    make_place: Callable[[str], Place],
    postgres: PostgreSQL,
    ministack: Ministack,
    monkeypatch: pytest.MonkeyPatch,
) -> Place:
    place = make_place("postgres")
    place.engine = "redshift"
    s3, bucket = s3_of(ministack), unique("stage")
    s3.create_bucket(Bucket=bucket)
    place.more = f'stage = "s3://{bucket}/rows"\nstage_endpoint = "{ministack.endpoint}"\n'
    place.more += 'role = "arn:aws:iam::123456789012:role/redshift-copy"\n'
    place.execute(FUNCTIONS)

    def connected(psycopg: Any, warehouse: Any, more: Any) -> RedshiftStandIn:
        return RedshiftStandIn(postgres, place.database, s3, **more)

    monkeypatch.setattr("whimbrel.warehouse.redshift.connected", connected)
    monkeypatch.setattr(RedshiftStandIn, "heard", [])
    return place


def test_load_changes_and_proof_by_copy_from_s3(redshift: Place, mariadb: MariaDB, ministack: Ministack) -> None:
    database = mariadb.new_database()
    mariadb.execute("SET SESSION time_zone = '+00:00'", TABLE, ROWS, database=database)
    redshift.add("shop", mariadb, database)
    redshift.project.write_text(redshift.project.read_text().replace("postgresql://", "redshift://"))
    redshift.converge()
    mariadb.execute(
        "UPDATE t SET id = id + 1000 WHERE id < 10",
        "DELETE FROM t WHERE id BETWEEN 20 AND 30",
        "UPDATE t SET d = -d, data = x'', j = NULL WHERE id = 50",
        "ALTER TABLE t ADD more INT NOT NULL DEFAULT 4",
        database=database,
    )
    redshift.converge()
    assert_same(redshift, "shop.t", mariadb, database, "t", "id, k, n, d, f, day, at, data, j, more")
    assert redshift.verify().equal
    heard = RedshiftStandIn.heard
    assert_read_by_sqlglot(heard)
    assert any("SORTKEY" in sql for sql in heard)
    assert not any(re.match("TRUNCATE", sql, re.IGNORECASE) for sql in heard)  # it commits
    bucket = redshift.more.split("s3://")[1].split("/")[0]
    assert "Contents" not in s3_of(ministack).list_objects_v2(Bucket=bucket)  # nothing is left on the stage
