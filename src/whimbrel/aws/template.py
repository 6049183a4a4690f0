"""One CloudFormation template for a project whose changes go through a stream: plain data, written as JSON.

Everything that a stack has a say in is a parameter, with the project's own names as defaults. The target tables are not
in it: ``migrate`` makes them, with the keys and indexes of the project file.
"""

from __future__ import annotations

import re
from typing import Any

from whimbrel.aws.policies import Document, documents, policies
from whimbrel.errors import ProjectError
from whimbrel.project import Project

HANDLER = "whimbrel.function.handler.handler"
RUNTIME = "python3.13"
TIMEOUT = 60  # seconds: what the function's own deadline is reckoned from
MEMORY = 512  # MB, for batches of BATCH records
BATCH = 100
LOG_DAYS = 30
LATE_MS = 5 * 60 * 1000  # the age of a record from which on the function is behind
_DAYS = 24 * 60 * 60

# What checkov would have otherwise, and why it is as it is; checkov reads this from the template.
_ACCEPTED = {
    "Marks": {"CKV_AWS_119": "Encrypted with the key of the service; it says how far a migration is"},
    "FailedBatches": {"CKV_AWS_27": "Encrypted by SQS; it has sequence numbers alone"},
    "Logs": {"CKV_AWS_158": "Encrypted by CloudWatch; no row is logged"},
    "Function": {
        "CKV_AWS_115": "No more run at once than the stream has shards",
        "CKV_AWS_116": "For asynchronous calls; the mapping has a failure destination",
        "CKV_AWS_117": "It calls nothing in a VPC",
        "CKV_AWS_173": "Its variables are no secret",
    },
}

Resource = dict[str, Any]


def template(project: Project) -> Document:
    """Raises ProjectError for a project without a stream, or with more target tables than policies take."""
    if project.stream is None:
        raise ProjectError(
            "there is nothing to make on AWS: one process applies the changes",
            place=str(project.path),
            hint='For Kinesis and Lambda set engine = "kinesis" in [log] and engine = "lambda" in [apply]; see '
            "docs/aws.md.",
        )
    needed = {name: documents(name, statements) for name, statements in policies(project).items()}
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": f"whimbrel: changes through the stream {project.stream.name}, applied by a function",
        "Parameters": _parameters(project.stream.name, project.target.mark),
        "Conditions": {
            "MakesMarks": {"Fn::Equals": [_ref("MakeMarkTable"), "true"]},
            "IsProvisioned": {"Fn::Not": [{"Fn::Equals": [_ref("ShardCount"), 0]}]},
            "HasTopic": {"Fn::Not": [{"Fn::Equals": [_ref("AlarmTopicArn"), ""]}]},
        },
        "Resources": {name: _explained(name, each) for name, each in _resources(needed).items()},
        "Outputs": _outputs(needed),
    }


def _resources(needed: dict[str, list[Document]]) -> dict[str, Resource]:
    return {
        "Stream": _stream(),
        "Marks": _marks(),
        "FailedBatches": _queue(),
        **_function(needed["function"]),
        **_accounts(needed),
        **_alarms(),
    }


def _explained(name: str, resource: Resource) -> Resource:
    skipped = [{"id": check, "comment": reason} for check, reason in _ACCEPTED.get(name, {}).items()]
    return {**resource, "Metadata": {"checkov": {"skip": skipped}}} if skipped else resource


def function_name(stream: str) -> str:
    """A function's name has neither dots nor more than 64 characters."""
    return re.sub("[^a-zA-Z0-9_-]", "-", stream)[:57]  # and its queue's name is longer by seven


def _parameters(stream: str, marks: str) -> Resource:
    return {
        "StreamName": _text("log.stream of the project file", stream, "[a-zA-Z0-9_.-]{1,128}"),
        "FunctionName": _text("Name of the function", function_name(stream), "[a-zA-Z0-9_-]{1,57}"),
        "MarkTable": _text("target.mark of the project file", marks, "[a-zA-Z0-9_.-]{3,255}"),
        "MakeMarkTable": {
            "Type": "String",
            "Description": "false where another project made the table of marks",
            "Default": "true",
            "AllowedValues": ["true", "false"],
        },
        "CodeBucket": {"Type": "String", "Description": "Bucket with the function's package"},
        "CodeKey": {"Type": "String", "Description": "Key of the function's package in the bucket"},
        "Architecture": {
            "Type": "String",
            "Description": "That of the package",
            "Default": "arm64",
            "AllowedValues": ["arm64", "x86_64"],
        },
        "MemoryMegabytes": _number("Memory of the function", MEMORY, 256, 10240),
        "ShardCount": _number("Shards of a provisioned stream; 0 for an on-demand one", 0, 0, 32),
        "RetentionHours": _number("How long the stream keeps records; what it loses is sent again", 72, 24, 8760),
        "MaximumRetries": _number("Retries of a failed batch; -1 until its records expire", -1, -1, 10000),
        "AlarmTopicArn": {"Type": "String", "Description": "SNS topic for the alarms; empty for none", "Default": ""},
    }


def _stream() -> Resource:
    provisioned = {"StreamMode": "PROVISIONED"}
    properties = {
        "Name": _ref("StreamName"),
        "RetentionPeriodHours": _ref("RetentionHours"),
        "StreamModeDetails": _if("IsProvisioned", provisioned, {"StreamMode": "ON_DEMAND"}),
        "ShardCount": _if("IsProvisioned", _ref("ShardCount"), _ref("AWS::NoValue")),
        "StreamEncryption": {"EncryptionType": "KMS", "KeyId": "alias/aws/kinesis"},
    }
    return _replaceable("AWS::Kinesis::Stream", properties)


def _marks() -> Resource:
    """Kept when the stack is deleted: with it goes what says how far a migration is."""
    names = ("target", "migration")
    return {
        "Type": "AWS::DynamoDB::Table",
        "Condition": "MakesMarks",
        "DeletionPolicy": "Retain",
        "UpdateReplacePolicy": "Retain",
        "Properties": {
            "TableName": _ref("MarkTable"),
            "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name in names],
            "KeySchema": [
                {"AttributeName": name, "KeyType": role} for name, role in zip(names, ("HASH", "RANGE"), strict=True)
            ],
            "BillingMode": "PAY_PER_REQUEST",
            "SSESpecification": {"SSEEnabled": True},
            "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
        },
    }


def _queue() -> Resource:
    properties = {
        "QueueName": _sub("${FunctionName}-failed"),
        "MessageRetentionPeriod": 14 * _DAYS,
        "SqsManagedSseEnabled": True,
    }
    return _replaceable("AWS::SQS::Queue", properties)


def _function(allowed: list[Document]) -> Resource:
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
    attached = [_ref(_policy_name("function", number)) for number in range(len(allowed))]
    role = {"AssumeRolePolicyDocument": trust, "ManagedPolicyArns": attached}
    logs = {"LogGroupName": _sub("/aws/lambda/${FunctionName}"), "RetentionInDays": LOG_DAYS}
    return {
        "Role": {"Type": "AWS::IAM::Role", "Properties": role},
        "Logs": _replaceable("AWS::Logs::LogGroup", logs),
        "Function": {"Type": "AWS::Lambda::Function", "Properties": _function_properties()},
        "Mapping": {"Type": "AWS::Lambda::EventSourceMapping", "Properties": _mapping_properties()},
    }


def _function_properties() -> Resource:
    return {
        "FunctionName": _ref("FunctionName"),
        "Runtime": RUNTIME,
        "Handler": HANDLER,
        "Architectures": [_ref("Architecture")],
        "Code": {"S3Bucket": _ref("CodeBucket"), "S3Key": _ref("CodeKey")},
        "Role": _arn("Role"),
        "Timeout": TIMEOUT,
        "MemorySize": _ref("MemoryMegabytes"),
        "Environment": {"Variables": {"WHIMBREL_MARK": _ref("MarkTable")}},
        "LoggingConfig": {"LogFormat": "JSON", "LogGroup": _ref("Logs")},
    }


def _mapping_properties() -> Resource:
    return {
        "FunctionName": _ref("Function"),
        "EventSourceArn": _arn("Stream"),
        "StartingPosition": "TRIM_HORIZON",
        "BatchSize": BATCH,
        "ParallelizationFactor": 1,  # a lane has one order
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "BisectBatchOnFunctionError": True,
        "MaximumRetryAttempts": _ref("MaximumRetries"),
        "DestinationConfig": {"OnFailure": {"Destination": _arn("FailedBatches")}},
    }


def _accounts(needed: dict[str, list[Document]]) -> Resource:
    said = {"function": "of the function's role", "migrate": "for whoever runs the commands of a migration"}
    return {
        _policy_name(name, number): {
            "Type": "AWS::IAM::ManagedPolicy",
            "Properties": {"Description": f"whimbrel: {said[name]}", "PolicyDocument": _substituted(document)},
        }
        for name, parts in needed.items()
        for number, document in enumerate(parts)
    }


def _alarms() -> Resource:
    function = [{"Name": "FunctionName", "Value": _ref("Function")}]
    queue = [{"Name": "QueueName", "Value": {"Fn::GetAtt": ["FailedBatches", "QueueName"]}}]
    visible = "ApproximateNumberOfMessagesVisible"
    return {
        "Late": _alarm("The function is behind the stream", "AWS/Lambda", "IteratorAge", function, "Maximum", LATE_MS),
        "Failing": _alarm("The function fails", "AWS/Lambda", "Errors", function, "Sum", 0),
        "Throttled": _alarm("The function is not started", "AWS/Lambda", "Throttles", function, "Sum", 0),
        "GivenUp": _alarm("Batches were given up", "AWS/SQS", visible, queue, "Maximum", 0),
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
        "AlarmActions": _if("HasTopic", [_ref("AlarmTopicArn")], _ref("AWS::NoValue")),
    }
    return {"Type": "AWS::CloudWatch::Alarm", "Properties": properties}


def _outputs(needed: dict[str, list[Document]]) -> Resource:
    made = {"StreamArn": _arn("Stream"), "FunctionArn": _arn("Function"), "FailureQueueUrl": _ref("FailedBatches")}
    names = [_policy_name("migrate", number) for number in range(len(needed["migrate"]))]
    made |= {f"{name}Arn": _ref(name) for name in names}
    return {name: {"Value": value} for name, value in made.items()}


def _policy_name(name: str, number: int) -> str:
    return f"{name.capitalize()}Policy{number + 1 if number else ''}"


def _substituted(document: Document) -> Document:
    """A policy in which CloudFormation puts the names and numbers of its own stack."""
    return {
        **document,
        "Statement": [
            {**each, "Resource": [_sub(resource) for resource in each["Resource"]]} for each in document["Statement"]
        ],
    }


def _replaceable(kind: str, properties: Resource) -> Resource:
    """Deleted with its stack: nothing is lost with it that is not sent again."""
    return {"Type": kind, "DeletionPolicy": "Delete", "UpdateReplacePolicy": "Delete", "Properties": properties}


def _text(said: str, default: str, pattern: str) -> Resource:
    return {"Type": "String", "Description": said, "Default": default, "AllowedPattern": f"^{pattern}$"}


def _number(said: str, default: int, least: int, most: int) -> Resource:
    return {"Type": "Number", "Description": said, "Default": default, "MinValue": least, "MaxValue": most}


def _ref(name: str) -> Resource:
    return {"Ref": name}


def _arn(name: str) -> Resource:
    return {"Fn::GetAtt": [name, "Arn"]}


def _sub(text: str) -> Resource:
    return {"Fn::Sub": text}


def _if(condition: str, then: Any, otherwise: Any) -> Resource:
    return {"Fn::If": [condition, then, otherwise]}
