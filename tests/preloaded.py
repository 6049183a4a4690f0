"""What whimbrel's commands import, and what botocore reads from its files: once, for all that are forked."""

from __future__ import annotations

import functools

import botocore.session

botocore.session.create_loader = functools.cache(botocore.session.create_loader)

import boto3  # noqa: E402

import whimbrel.cli.main  # noqa: E402
import whimbrel.handover.cutover  # noqa: E402
import whimbrel.handover.rollback  # noqa: E402
import whimbrel.migration.verify  # noqa: E402, F401

for service in ("dynamodb", "dynamodbstreams"):
    boto3.client(service, region_name="us-east-1", aws_access_key_id="local", aws_secret_access_key="local")
