"""What AWS has for the data sets that are published as Iceberg tables: a database of Glue, a workgroup of Athena with a
limit of what a query may scan, and who may use them.

Athena reads the catalog and the bucket, and writes its results, in the name of whoever asks.
"""

from __future__ import annotations

from collections.abc import Iterator

from whimbrel.aws.allowed import LAKE, Allowed, of
from whimbrel.aws.forms import Resource, choice, either, number, ref, sub, text
from whimbrel.project import Project

MOST_BYTES = 100_000_000_000  # that a query may scan: half a dollar
RESULT_DAYS = 7
LONGEST = {"GlueDatabase": 128, "AthenaWorkGroup": 128}
CONDITIONS = {"MakesDatabase": {"Fn::Equals": [ref("MakeDatabase"), "true"]}}
_GLUE = "arn:${AWS::Partition}:glue:${AWS::Region}:${AWS::AccountId}:%s"
_WORKGROUP = "arn:${AWS::Partition}:athena:${AWS::Region}:${AWS::AccountId}:workgroup/${AthenaWorkGroup}"
_NAME = "[a-z][a-z0-9_]{0,127}"


def published(project: Project) -> list[str]:
    """The Iceberg tables that the project has in Glue; none of a lake in a folder."""
    return sorted(each.name for each in project.lake.datasets if each.publish) if project.lake.store else []


def writes(project: Project) -> Iterator[Allowed]:
    """To publish. A table whose columns got other types is made again."""
    if tables := published(project):
        actions = ("CreateTable", "DeleteTable", "GetDatabase", "GetTable", "UpdateTable")
        yield Allowed("Publish", of("glue", actions), _in_glue(tables))


def asks(project: Project) -> Iterator[Allowed]:
    """To ask Athena."""
    if tables := published(project):
        assert project.lake.store
        yield Allowed("Tables", of("glue", ("GetDatabase", "GetTable")), _in_glue(tables))
        calls = ("GetQueryExecution", "GetQueryResults", "GetWorkGroup", "StartQueryExecution", "StopQueryExecution")
        yield Allowed("Ask", of("athena", calls), (_WORKGROUP,))
        results = ("AbortMultipartUpload", "GetObject", "PutObject")
        yield Allowed("Results", of("s3", results), (f"{LAKE}/{project.lake.store.prefix}/athena/*",))
        yield Allowed("Place", of("s3", ("GetBucketLocation",)), (LAKE,))


def parameters(project: Project) -> Resource:
    return {
        "GlueDatabase": text("lake.database of the project file", project.lake.database, _NAME),
        "MakeDatabase": choice("false where the database is there already", "true", "false"),
        "AthenaWorkGroup": text("lake.workgroup of the project file", project.lake.workgroup, "[a-zA-Z0-9._-]{1,128}"),
        "AthenaMostBytes": number("Bytes that a query may scan", MOST_BYTES, 10_000_000, 7_000_000_000_000_000),
    }


def resources(project: Project) -> dict[str, Resource]:
    assert project.lake.store
    database = {"CatalogId": ref("AWS::AccountId"), "DatabaseInput": {"Name": ref("GlueDatabase")}}
    by_key = {"EncryptionOption": "SSE_KMS", "KmsKey": ref("KeyArn")}
    results = {
        "OutputLocation": sub(f"s3://${{LakeBucket}}/{project.lake.store.prefix}/athena/"),
        "EncryptionConfiguration": either("HasKey", by_key, {"EncryptionOption": "SSE_S3"}),
    }
    settings = {
        "EnforceWorkGroupConfiguration": True,
        "PublishCloudWatchMetricsEnabled": True,
        "BytesScannedCutoffPerQuery": ref("AthenaMostBytes"),
        "EngineVersion": {"SelectedEngineVersion": "Athena engine version 3"},
        "ResultConfiguration": results,
    }
    workgroup = {"Name": ref("AthenaWorkGroup"), "State": "ENABLED", "WorkGroupConfiguration": settings}
    return {
        "Database": {"Type": "AWS::Glue::Database", "Condition": "MakesDatabase", "Properties": database},
        "WorkGroup": {"Type": "AWS::Athena::WorkGroup", "Properties": workgroup},
    }


def expiry(prefix: str) -> Resource:
    """Of results, which nobody reads twice."""
    return {"Id": "results", "Status": "Enabled", "Prefix": f"{prefix}/athena/", "ExpirationInDays": RESULT_DAYS}


def _in_glue(tables: list[str]) -> tuple[str, ...]:
    named = (f"table/${{GlueDatabase}}/{each}" for each in tables)
    return tuple(_GLUE % each for each in ("catalog", "database/${GlueDatabase}", *named))
