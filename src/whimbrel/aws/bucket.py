"""The parts of a template for files in S3, the snapshot's and the lake's: buckets that nobody else reads."""

from __future__ import annotations

from whimbrel.aws.forms import Resource, choice, either, kept, number, ref, sub, text
from whimbrel.kinesis.kept import CHANGES
from whimbrel.project import Store

CHANGE_DAYS = 14  # what is gone sooner than its record is sent again
SNAPSHOT_DAYS = 90  # far longer than a load takes; a file that is gone is read from the source again
_PUBLIC = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")
CONDITIONS = {
    "MakesBucket": {"Fn::Equals": [ref("MakeBucket"), "true"]},
}
LAKE_CONDITIONS = {
    "MakesLake": {"Fn::Equals": [ref("MakeLake"), "true"]},
}
STAGE_CONDITIONS = {
    "MakesStage": {"Fn::Equals": [ref("MakeStage"), "true"]},
}
EXPORT_DAYS = 30  # what is read once, when it is converted, is then kept where keeping is cheaper
_NAME = "[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"


def parameters(store: Store) -> Resource:
    return {
        "BucketName": text("Bucket of snapshot.store of the project file", store.bucket, _NAME),
        "MakeBucket": choice("false where the bucket is there already", "true", "false"),
        "SnapshotDays": number("Days until the snapshot's files are deleted", SNAPSHOT_DAYS, 1, 3650),
    }


def lake_parameters(lake: Store, store: Store | None) -> Resource:
    """``store`` is the snapshot's: its bucket is made once."""
    made = "false" if store and store.bucket == lake.bucket else "true"
    return {
        "LakeBucket": text("Bucket of lake.folder of the project file", lake.bucket, _NAME),
        "MakeLake": choice("false where the bucket is there already", made, "false" if made == "true" else "true"),
        "LakeExportDays": number("Days until an export's files are kept as infrequently read", EXPORT_DAYS, 30, 3650),
    }


def stage_parameters(stage: Store) -> Resource:
    return {
        "StageBucket": text("Bucket of warehouse.stage of the project file", stage.bucket, _NAME),
        "MakeStage": choice("false where the bucket is there already", "true", "false"),
        "StageDays": number("Days until rows that a killed process left there are deleted", 1, 1, 365),
    }


def change_parameters() -> Resource:
    """Of a project with a stream."""
    said = "Days until changes that no record takes are deleted; what the stream still has of them is sent again"
    return {"ChangeDays": number(said, CHANGE_DAYS, 1, 366)}


def resources(store: Store, *, has_stream: bool) -> dict[str, Resource]:
    changes = [_expiry_of("changes", f"{store.prefix}/{CHANGES}/", "ChangeDays")] if has_stream else []
    snapshot = _expiry_of("snapshot", f"{store.prefix}/", "SnapshotDays")
    return _bucket("Bucket", "BucketName", "MakesBucket", [snapshot, *changes, _parts()])


def lake_resources(lake: Store, more: list[Resource]) -> dict[str, Resource]:
    """What is old is removed by whimbrel, by keep and keep_exports: a chain needs its exports. ``more`` are rules for
    what else is there.
    """
    return _bucket("Lake", "LakeBucket", "MakesLake", [_seldom(lake), *more, _parts()])


def stage_resources(stage: Store) -> dict[str, Resource]:
    left = _expiry_of("stage", f"{stage.prefix}/", "StageDays")
    return _bucket("Stage", "StageBucket", "MakesStage", [left, _parts()])


def _bucket(name: str, parameter: str, condition: str, rules: list[Resource]) -> dict[str, Resource]:
    by_key = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": ref("KeyArn")}
    encryption = {
        "ServerSideEncryptionByDefault": either("HasKey", by_key, {"SSEAlgorithm": "AES256"}),
        "BucketKeyEnabled": either("HasKey", True),
    }
    properties = {
        "BucketName": ref(parameter),
        "BucketEncryption": {"ServerSideEncryptionConfiguration": [encryption]},
        "PublicAccessBlockConfiguration": dict.fromkeys(_PUBLIC, True),
        "OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]},
        "LifecycleConfiguration": {"Rules": rules},
    }
    made = {
        name: kept("AWS::S3::Bucket", properties),
        f"{name}Policy": {"Type": "AWS::S3::BucketPolicy", "Properties": _only_by_tls(name, parameter)},
    }
    return {each: {**resource, "Condition": condition} for each, resource in made.items()}


def _expiry_of(name: str, prefix: str, days: str) -> Resource:
    return {"Id": name, "Status": "Enabled", "Prefix": prefix, "ExpirationInDays": ref(days)}


def _seldom(lake: Store) -> Resource:
    later = {"StorageClass": "STANDARD_IA", "TransitionInDays": ref("LakeExportDays")}
    return {"Id": "exports", "Status": "Enabled", "Prefix": f"{lake.prefix}/exports/", "Transitions": [later]}


def _parts() -> Resource:
    """What a process that was killed left of an object."""
    return {"Id": "parts", "Status": "Enabled", "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}}


def _only_by_tls(name: str, parameter: str) -> Resource:
    bucket = f"arn:${{AWS::Partition}}:s3:::${{{parameter}}}"
    denied = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [sub(bucket), sub(f"{bucket}/*")],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    return {"Bucket": ref(name), "PolicyDocument": {"Version": "2012-10-17", "Statement": [denied]}}
