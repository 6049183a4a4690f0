"""The part of a template for the snapshot's files in S3: a bucket that nobody else reads."""

from __future__ import annotations

from whimbrel.aws.forms import Resource, choice, either, kept, number, ref, sub, text
from whimbrel.project import Store

SNAPSHOT_DAYS = 90  # far longer than a load takes; a file that is gone is read from the source again
_PUBLIC = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")
CONDITIONS = {
    "MakesBucket": {"Fn::Equals": [ref("MakeBucket"), "true"]},
}


def parameters(store: Store) -> Resource:
    return {
        "BucketName": text(
            "Bucket of snapshot.store of the project file", store.bucket, "[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
        ),
        "MakeBucket": choice("false where the bucket is there already", "true", "false"),
        "SnapshotDays": number("Days until the snapshot's files are deleted", SNAPSHOT_DAYS, 1, 3650),
    }


def resources(store: Store) -> dict[str, Resource]:
    by_key = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": ref("KeyArn")}
    encryption = {
        "ServerSideEncryptionByDefault": either("HasKey", by_key, {"SSEAlgorithm": "AES256"}),
        "BucketKeyEnabled": either("HasKey", True),
    }
    properties = {
        "BucketName": ref("BucketName"),
        "BucketEncryption": {"ServerSideEncryptionConfiguration": [encryption]},
        "PublicAccessBlockConfiguration": dict.fromkeys(_PUBLIC, True),
        "OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]},
        "LifecycleConfiguration": {"Rules": [_expiry(store), _parts()]},
    }
    made = {
        "Bucket": kept("AWS::S3::Bucket", properties),
        "BucketPolicy": {"Type": "AWS::S3::BucketPolicy", "Properties": _only_by_tls()},
    }
    return {name: {**each, "Condition": "MakesBucket"} for name, each in made.items()}


def _expiry(store: Store) -> Resource:
    return {
        "Id": "snapshot",
        "Status": "Enabled",
        "Prefix": f"{store.prefix}/",
        "ExpirationInDays": ref("SnapshotDays"),
    }


def _parts() -> Resource:
    """What a process that was killed left of an object."""
    return {"Id": "parts", "Status": "Enabled", "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}}


def _only_by_tls() -> Resource:
    bucket = "arn:${AWS::Partition}:s3:::${BucketName}"
    denied = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [sub(bucket), sub(f"{bucket}/*")],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    return {"Bucket": ref("Bucket"), "PolicyDocument": {"Version": "2012-10-17", "Statement": [denied]}}
