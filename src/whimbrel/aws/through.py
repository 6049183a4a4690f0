"""The parts of a template for changes that go through a stream: stream, function, mapping, failure queue, alarms."""

from __future__ import annotations

import re
from hashlib import blake2b

from whimbrel.aws.allowed import STREAM
from whimbrel.aws.forms import (
    Resource,
    arn,
    choice,
    either,
    given,
    is_given,
    listed,
    number,
    perhaps,
    ref,
    replaceable,
    role,
    sub,
    text,
)
from whimbrel.function.metrics import DIMENSION, METRICS, NAMESPACE
from whimbrel.project import Stream

MOST_CHARACTERS = 57  # of the function's name: its queue's name is longer by seven
HANDLER = "whimbrel.function.handler.handler"
RUNTIME = "python3.13"
TIMEOUT = 60  # seconds: what the function's own deadline is reckoned from
MEMORY = 512  # MB, for batches of BATCH records
BATCH = 100
RETENTION_HOURS = 72
LOG_DAYS = 30
LATE_MS = 5 * 60 * 1000  # the age of a record, or of a change, from which on the function is behind
CUT_OFF = 10  # batches in five minutes that were not done in time
_DAYS = 24 * 60 * 60

_STREAM = either("MakesStream", arn("Stream"), sub(STREAM))
CONDITIONS = {
    "MakesStream": {"Fn::Equals": [ref("MakeStream"), "true"]},
    "IsProvisioned": {"Fn::Not": [{"Fn::Equals": [ref("ShardCount"), 0]}]},
    "HasTopic": is_given("AlarmTopicArn"),
    "HasVpc": {"Fn::Not": [{"Fn::Equals": [{"Fn::Join": ["", ref("SubnetIds")]}, ""]}]},
}
OUTPUTS = {"StreamArn": _STREAM, "FunctionArn": arn("Function"), "FailureQueueUrl": ref("FailedBatches")}


def function_name(stream: str) -> str:
    """A function's name has neither dots nor more than 64 characters. Streams whose names differ late have others."""
    name = re.sub("[^a-zA-Z0-9_-]", "-", stream)
    if len(name) <= MOST_CHARACTERS:
        return name
    digest = blake2b(stream.encode(), digest_size=4).hexdigest()
    return f"{name[: MOST_CHARACTERS - len(digest) - 1]}-{digest}"


def parameters(stream: Stream) -> Resource:
    return {
        "StreamName": text("log.stream of the project file", stream.name, "[a-zA-Z0-9_.-]{1,128}"),
        "MakeStream": choice("false where the stream is there already", "true", "false"),
        "FunctionName": text(
            "Name of the function", function_name(stream.name), f"[a-zA-Z0-9_-]{{1,{MOST_CHARACTERS}}}"
        ),
        "CodeBucket": given("Bucket with the function's package"),
        "CodeKey": given("Key of the function's package in the bucket"),
        "Architecture": choice("That of the package", "arm64", "x86_64"),
        "MemoryMegabytes": number("Memory of the function", MEMORY, 256, 10240),
        "ShardCount": number("Shards of a provisioned stream; 0 for an on-demand one", 0, 0, 32),
        "RetentionHours": number(
            "Hours that the stream keeps records; what it loses is sent again", RETENTION_HOURS, 24, 8760
        ),
        "BatchingSeconds": number(
            "Seconds that records may wait for others: fewer invocations, a longer lag", 0, 0, 300
        ),
        "MaximumRetries": number("Retries of a failed batch; -1 until its records expire", -1, -1, 10000),
        "OtherSenders": choice("What becomes of changes that another sender puts into the stream", "refuse", "skip"),
        "AlarmTopicArn": perhaps("SNS topic for the alarms; empty for none"),
        "SubnetIds": listed("Subnets for the function; empty for no VPC"),
        "SecurityGroupIds": listed("Security groups for the function, in a VPC"),
    }


def resources(queue: str, policies: list[Resource]) -> dict[str, Resource]:
    """``queue`` is the name of the failure queue, ``policies`` are those of the function's role."""
    logs = {
        "LogGroupName": sub("/aws/lambda/${FunctionName}"),
        "RetentionInDays": LOG_DAYS,
        "KmsKeyId": either("HasKey", ref("KeyArn")),
    }
    return {
        "Stream": _stream(),
        "FailedBatches": _queue(queue),
        "Role": role("lambda", policies),
        "Logs": replaceable("AWS::Logs::LogGroup", logs),
        "Function": {"Type": "AWS::Lambda::Function", "Properties": _function()},
        "Mapping": {"Type": "AWS::Lambda::EventSourceMapping", "Properties": _mapping()},
        **_alarms(),
    }


def _stream() -> Resource:
    provisioned = {"StreamMode": "PROVISIONED"}
    properties = {
        "Name": ref("StreamName"),
        "RetentionPeriodHours": ref("RetentionHours"),
        "StreamModeDetails": either("IsProvisioned", provisioned, {"StreamMode": "ON_DEMAND"}),
        "ShardCount": either("IsProvisioned", ref("ShardCount")),
        "StreamEncryption": {"EncryptionType": "KMS", "KeyId": either("HasKey", ref("KeyArn"), "alias/aws/kinesis")},
    }
    return {**replaceable("AWS::Kinesis::Stream", properties), "Condition": "MakesStream"}


def _queue(name: str) -> Resource:
    properties = {
        "QueueName": sub(name) if "${" in name else name,
        "MessageRetentionPeriod": 14 * _DAYS,
        "SqsManagedSseEnabled": either("HasKey", False, True),
        "KmsMasterKeyId": either("HasKey", ref("KeyArn")),
    }
    return replaceable("AWS::SQS::Queue", properties)


def _function() -> Resource:
    return {
        "FunctionName": ref("FunctionName"),
        "Runtime": RUNTIME,
        "Handler": HANDLER,
        "Architectures": [ref("Architecture")],
        "Code": {"S3Bucket": ref("CodeBucket"), "S3Key": ref("CodeKey")},
        "Role": arn("Role"),
        "Timeout": TIMEOUT,
        "MemorySize": ref("MemoryMegabytes"),
        "Environment": {
            "Variables": {"WHIMBREL_MARK": ref("MarkTable"), "WHIMBREL_OTHER_SENDERS": ref("OtherSenders")}
        },
        "KmsKeyArn": either("HasKey", ref("KeyArn")),
        "VpcConfig": either("HasVpc", {"SubnetIds": ref("SubnetIds"), "SecurityGroupIds": ref("SecurityGroupIds")}),
        "LoggingConfig": {"LogFormat": "JSON", "LogGroup": ref("Logs")},
    }


def _mapping() -> Resource:
    return {
        "FunctionName": ref("Function"),
        "EventSourceArn": _STREAM,
        "StartingPosition": "TRIM_HORIZON",
        "BatchSize": BATCH,
        "MaximumBatchingWindowInSeconds": ref("BatchingSeconds"),
        "ParallelizationFactor": 1,  # a lane has one order
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "BisectBatchOnFunctionError": True,
        "MaximumRetryAttempts": ref("MaximumRetries"),
        "DestinationConfig": {"OnFailure": {"Destination": arn("FailedBatches")}},
    }


def _alarms() -> Resource:
    function = [{"Name": "FunctionName", "Value": ref("Function")}]
    queue = [{"Name": "QueueName", "Value": {"Fn::GetAtt": ["FailedBatches", "QueueName"]}}]
    stream = [{"Name": DIMENSION, "Value": ref("StreamName")}]
    visible = "ApproximateNumberOfMessagesVisible"
    lag, letters, stopped = (METRICS[name][0] for name in ("lag", "letters", "stopped_early"))
    return {
        "Late": _alarm("The function is behind the stream", "AWS/Lambda", "IteratorAge", function, "Maximum", LATE_MS),
        "Failing": _alarm("The function fails", "AWS/Lambda", "Errors", function, "Sum", 0),
        "Throttled": _alarm("The function is not started", "AWS/Lambda", "Throttles", function, "Sum", 0),
        "GivenUp": _alarm("Batches were given up", "AWS/SQS", visible, queue, "Maximum", 0),
        "Behind": _alarm("Changes are written late", NAMESPACE, lag, stream, "Maximum", LATE_MS),
        "Refused": _alarm("Changes became dead letters", NAMESPACE, letters, stream, "Sum", 0),
        "CutOff": _alarm("Batches are not done in time", NAMESPACE, stopped, stream, "Sum", CUT_OFF),
    }


def _alarm(said: str, space: str, metric: str, of: list[Resource], statistic: str, above: int) -> Resource:
    properties = {
        "AlarmDescription": said,
        "Namespace": space,
        "MetricName": metric,
        "Dimensions": of,
        "Statistic": statistic,
        "Period": 300,
        "EvaluationPeriods": 1,
        "Threshold": above,
        "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": "notBreaching",
        "AlarmActions": either("HasTopic", [ref("AlarmTopicArn")]),
    }
    return {"Type": "AWS::CloudWatch::Alarm", "Properties": properties}
