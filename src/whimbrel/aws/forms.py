"""The forms that CloudFormation's templates are made of."""

from __future__ import annotations

from typing import Any

Resource = dict[str, Any]


def text(said: str, default: str, pattern: str) -> Resource:
    return {"Type": "String", "Description": said, "Default": default, "AllowedPattern": f"^{pattern}$"}


def number(said: str, default: int, least: int, most: int) -> Resource:
    return {"Type": "Number", "Description": said, "Default": default, "MinValue": least, "MaxValue": most}


def choice(said: str, *values: str) -> Resource:
    """The first is the default."""
    return {"Type": "String", "Description": said, "Default": values[0], "AllowedValues": list(values)}


def given(said: str) -> Resource:
    """What must be given."""
    return {"Type": "String", "Description": said}


def perhaps(said: str) -> Resource:
    """Empty for none."""
    return {"Type": "String", "Description": said, "Default": ""}


def listed(said: str) -> Resource:
    """Several, with commas between them; empty for none."""
    return {"Type": "CommaDelimitedList", "Description": said, "Default": ""}


def is_given(name: str) -> Resource:
    """A condition: the parameter is not empty."""
    return {"Fn::Not": [{"Fn::Equals": [ref(name), ""]}]}


def replaceable(kind: str, properties: Resource) -> Resource:
    """Deleted with its stack: nothing is lost with it that is not sent again."""
    return {"Type": kind, "DeletionPolicy": "Delete", "UpdateReplacePolicy": "Delete", "Properties": properties}


def kept(kind: str, properties: Resource) -> Resource:
    """Left where it is when its stack is deleted."""
    return {"Type": kind, "DeletionPolicy": "Retain", "UpdateReplacePolicy": "Retain", "Properties": properties}


def role(service: str, policies: list[Resource]) -> Resource:
    """Which ``service`` of AWS may take."""
    allowed = {"Effect": "Allow", "Principal": {"Service": f"{service}.amazonaws.com"}, "Action": "sts:AssumeRole"}
    trust = {"Version": "2012-10-17", "Statement": [allowed]}
    properties = {"AssumeRolePolicyDocument": trust, "ManagedPolicyArns": policies}
    return {"Type": "AWS::IAM::Role", "Properties": properties}


def with_policy(made: Resource, name: str, *statements: Resource) -> Resource:
    """A role with statements that only the stack can write, beside its policies."""
    policy = {"PolicyName": name, "PolicyDocument": {"Version": "2012-10-17", "Statement": list(statements)}}
    return {**made, "Properties": {**made["Properties"], "Policies": [policy]}}


def ref(name: str) -> Resource:
    return {"Ref": name}


def arn(name: str) -> Resource:
    return {"Fn::GetAtt": [name, "Arn"]}


def sub(text: str) -> Resource:
    return {"Fn::Sub": text}


def either(condition: str, then: Any, otherwise: Any = None) -> Resource:
    """Without ``otherwise`` the property is left out."""
    return {"Fn::If": [condition, then, ref("AWS::NoValue") if otherwise is None else otherwise]}
