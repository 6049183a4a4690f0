"""A statement of a policy, and the ARNs that policies have in common, as a template's Fn::Sub has them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

TABLE = "arn:${AWS::Partition}:dynamodb:${AWS::Region}:${AWS::AccountId}:table/"
STREAM = "arn:${AWS::Partition}:kinesis:${AWS::Region}:${AWS::AccountId}:stream/${StreamName}"
BUCKET = "arn:${AWS::Partition}:s3:::${BucketName}"
LAKE = "arn:${AWS::Partition}:s3:::${LakeBucket}"
_IMPORT_LOGS = "arn:${AWS::Partition}:logs:${AWS::Region}:${AWS::AccountId}:log-group:/aws-dynamodb/imports:*"


class Allowed(NamedTuple):
    """``service:Action`` names, and ARNs with the variables of a template in them. ``condition`` is how a key of the
    request must match one of some values.
    """

    sid: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    condition: tuple[str, str, tuple[str, ...]] | None = None


def of(service: str, names: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"{service}:{name}" for name in names)


WRITES_OBJECTS = of("s3", ("AbortMultipartUpload", "DeleteObject", "GetObject", "PutObject"))


def lists(sid: str, bucket: str, prefix: str) -> Allowed:
    return Allowed(sid, of("s3", ("ListBucket",)), (bucket,), ("StringLike", "s3:prefix", (f"{prefix}/*",)))


def follows_imports(tables: Sequence[str]) -> Iterator[Allowed]:
    """What an import needs beside ImportTable: DynamoDB reads the bucket and writes its log in the name of whoever asks
    for it.
    """
    imports = tuple(f"{TABLE}{table}/import/*" for table in tables)
    yield Allowed("FollowImport", of("dynamodb", ("DescribeImport",)), imports)
    # Of these two, IAM takes no other resource.
    yield Allowed("FindImport", of("dynamodb", ("ListImports",)), ("*",))  # the one of a call whose answer was lost
    yield Allowed("ImportLogGroups", of("logs", ("DescribeLogGroups",)), ("*",))
    logs = ("CreateLogGroup", "CreateLogStream", "DescribeLogStreams", "PutLogEvents")
    yield Allowed("ImportLogs", of("logs", (*logs, "PutRetentionPolicy")), (_IMPORT_LOGS,))
