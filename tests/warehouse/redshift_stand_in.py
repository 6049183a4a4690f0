"""A stand-in for Redshift: PostgreSQL, for which each statement is rewritten where it does not know what Redshift does.

What it cannot show: that Redshift itself takes the statements, its isolation, how COPY reads Parquet, and its limits.
So sqlglot must read every statement in Redshift's dialect, and COPY is carried out here from the manifest's files.
"""

from __future__ import annotations

import json
import re
from io import BytesIO
from typing import Any, ClassVar

import boto3
import pyarrow.parquet
import sqlglot

from demo.servers import Ministack, PostgreSQL

FUNCTIONS = """
CREATE FUNCTION json_parse(VARCHAR) RETURNS JSONB LANGUAGE sql AS 'SELECT CAST($1 AS JSONB)';
CREATE FUNCTION json_serialize(JSONB) RETURNS VARCHAR LANGUAGE sql AS 'SELECT CAST($1 AS VARCHAR)';
CREATE FUNCTION to_varbyte(VARCHAR, VARCHAR) RETURNS BYTEA LANGUAGE sql AS 'SELECT decode($1, $2)';
CREATE FUNCTION from_varbyte(BYTEA, VARCHAR) RETURNS VARCHAR LANGUAGE sql AS 'SELECT encode($1, $2)';
CREATE FUNCTION same_but_spaces(VARCHAR, VARCHAR) RETURNS BOOLEAN LANGUAGE sql IMMUTABLE
  AS $$ SELECT rtrim($1, ' ') OPERATOR(pg_catalog.=) rtrim($2, ' ') $$;
CREATE OPERATOR = (FUNCTION = same_but_spaces, LEFTARG = VARCHAR, RIGHTARG = VARCHAR);
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path TO public, pg_catalog', current_database()); END $$;
"""  # spaces at the end of a VARCHAR count for nothing in a comparison


class RedshiftStandIn:
    """What psycopg gives: a connection, for all that whimbrel asks of one. ``heard`` are the statements."""

    heard: ClassVar[list[str]] = []

    def __init__(self, server: PostgreSQL, database: str, s3: Any, **more: Any) -> None:
        self._connection = server.connect(database, **more)
        self._s3 = s3

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, sql: str, values: Any = None) -> Any:
        RedshiftStandIn.heard.append(sql)
        if copied := re.fullmatch(
            r"COPY (\w+) FROM 's3://([^/]+)/(\S+)' IAM_ROLE '\S+' FORMAT AS PARQUET MANIFEST", sql
        ):
            return self._copy(*copied.groups())
        return self._connection.execute(as_postgres(sql), values)

    def _copy(self, table: str, bucket: str, manifest: str) -> Any:
        for entry in json.loads(self._read(bucket, manifest))["entries"]:
            data = self._read(bucket, entry["url"].removeprefix(f"s3://{bucket}/"))
            assert len(data) == entry["meta"]["content_length"]
            rows = pyarrow.parquet.read_table(BytesIO(data))
            with self._connection.cursor() as cursor:
                with cursor.copy(f"COPY {table} FROM STDIN") as copy:
                    for row in zip(*(column.to_pylist() for column in rows.columns), strict=True):
                        copy.write_row(row)
                copied = cursor
        return copied

    def _read(self, bucket: str, key: str) -> bytes:
        body: bytes = self._s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        return body


def as_postgres(sql: str) -> str:
    sql = re.sub(r" (DISTSTYLE KEY DISTKEY \(.*?\)|DISTSTYLE AUTO) SORTKEY \(.*\)$", "", sql)
    sql = re.sub(r" SUPER\b", " JSONB", sql)
    return re.sub(r"VARBYTE\(\d+\)", "BYTEA", sql)


def assert_read_by_sqlglot(statements: list[str]) -> None:
    """Each as a statement that it understands, in Redshift's dialect."""
    for sql in statements:
        if sql in ("BEGIN", "BEGIN READ ONLY", "COMMIT", "ROLLBACK") or sql.startswith(("FETCH ", "CLOSE ")):
            continue
        sql = re.sub(r"^DECLARE \w+ CURSOR FOR ", "", sql)
        [found] = sqlglot.parse(sql.replace("%s", "NULL"), read="redshift")
        assert found is not None
        assert not isinstance(found, sqlglot.exp.Command), sql


def s3_of(ministack: Ministack) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=ministack.endpoint,
        region_name="us-east-1",
        aws_access_key_id="local",
        aws_secret_access_key="local",
    )
