"""One CloudFormation template for a project: plain data, written as JSON.

Everything that a stack has a say in is a parameter, with the project's own names as defaults. The target tables are not
in it: ``migrate`` makes them, with the keys and indexes of the project file.
"""

from __future__ import annotations

from whimbrel.aws import bucket, catalog, converging, renewal, spark, tasks, through
from whimbrel.aws.forms import Resource, choice, either, is_given, kept, ref, sub, text
from whimbrel.aws.policies import (
    Document,
    documents,
    key_document,
    marked,
    moves,
    policies,
    queue_name,
    spark_on_aws,
)
from whimbrel.project import Project

# What checkov would have otherwise, and why it is as it is; checkov reads this from the template.
_ACCEPTED = {
    "Marks": {"CKV_AWS_119": "Encrypted with the key of the service, or KeyArn; it says how far a migration is"},
    "FailedBatches": {"CKV_AWS_27": "Encrypted by SQS, or with KeyArn; it has sequence numbers alone"},
    "Logs": {"CKV_AWS_158": "Encrypted by CloudWatch, or with KeyArn; no row is logged"},
    "Bucket": {
        "CKV_AWS_18": "Who reads it is in CloudTrail; a bucket of logs is the account's choice",
        "CKV_AWS_21": "No object is written over another; what is deleted should be gone",
    },
    "Stage": {
        "CKV_AWS_18": "Who reads it is in CloudTrail; a bucket of logs is the account's choice",
        "CKV_AWS_21": "No object is written over another; what is deleted should be gone",
    },
    "Lake": {
        "CKV_AWS_18": "Who reads it is in CloudTrail; a bucket of logs is the account's choice",
        "CKV_AWS_21": "Only pointers are written over; what is deleted should be gone",
    },
    "SparkGlueJob": {"CKV_AWS_195": "It keeps no bookmarks and no tables, and its logs have no row"},
    "Function": {
        "CKV_AWS_115": "No more run at once than the stream has shards",
        "CKV_AWS_116": "For asynchronous calls; the mapping has a failure destination",
        "CKV_AWS_117": "It calls nothing in a VPC, unless SubnetIds are given",
        "CKV_AWS_173": "Its variables are no secret",
    },
}
_VPC_POLICY = "arn:${AWS::Partition}:iam::aws:policy/service-role/AWSLambdaVPCAccessExecutionRole"


def template(project: Project, key: str = "") -> Document:
    """``key`` is the ARN of a KMS key, as the parameter's default. Raises ProjectError for more target tables than
    policies take.
    """
    needed = {name: documents(name, statements) for name, statements in policies(project).items()}
    resources = _resources(project, needed)
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": f"whimbrel: {_what(project)}",
        "Parameters": _parameters(project, key),
        "Conditions": _conditions(project),
        **({"Mappings": tasks.MAPPINGS} if _has_tasks(project) else {}),
        "Resources": {name: _explained(name, each) for name, each in resources.items()},
        "Outputs": {name: {"Value": value} for name, value in _outputs(project, needed).items()},
    }


def _has_tasks(project: Project) -> bool:
    return bool(project.predict.renewals_there or converging.on_redshift(project))


def _what(project: Project) -> str:
    if project.stream:
        return f"changes through the stream {project.stream.name}, applied by a function"
    return "the rights of a migration by one process" if moves(project) else "several sources in one warehouse"


def _parameters(project: Project, key: str) -> Resource:
    made: Resource = {
        "KeyArn": text("KMS key for all that is encrypted; empty for the keys of the services", key, "(arn:.+)?")
    }
    if marked(project):
        made |= {
            "MarkTable": text("target.mark of the project file", project.target.mark, "[a-zA-Z0-9_.-]{3,255}"),
            "MakeMarkTable": choice("false where another project made the table of marks", "true", "false"),
        }
    if project.stream:
        made |= through.parameters(project.stream)
    if project.store:
        made |= bucket.parameters(project.store)
    if project.store and project.stream:
        made |= bucket.change_parameters()
    if project.lake.store:
        made |= bucket.lake_parameters(project.lake.store, project.store)
    if catalog.published(project):
        made |= catalog.parameters(project)
    if warehouse := converging.on_redshift(project):
        made |= converging.parameters(warehouse, project)
    if on_aws := spark_on_aws(project):
        made |= spark.parameters(on_aws)
    if project.predict.on_sagemaker:
        made |= renewal.parameters(project)
    return made


def _conditions(project: Project) -> Resource:
    made: Resource = {"HasKey": is_given("KeyArn")}
    if marked(project):
        made["MakesMarks"] = {"Fn::Equals": [ref("MakeMarkTable"), "true"]}
    if project.stream:
        made |= through.CONDITIONS
    if project.store:
        made |= bucket.CONDITIONS
    if project.lake.store:
        made |= bucket.LAKE_CONDITIONS
    if catalog.published(project):
        made |= catalog.CONDITIONS
    if converging.on_redshift(project):
        made |= bucket.STAGE_CONDITIONS
    if project.predict.on_sagemaker:
        made |= renewal.conditions(project)
    return made


def _resources(project: Project, needed: dict[str, list[Document]]) -> dict[str, Resource]:
    made: dict[str, Resource] = {}
    if marked(project):
        made["Marks"] = _marks()
    if project.stream:
        attached = [ref(_policy_name("function", number)) for number in range(len(needed["function"]))]
        attached += [either("HasKey", ref("KeyPolicy")), either("HasVpc", sub(_VPC_POLICY))]
        made |= through.resources(queue_name(project.stream), attached)
    if project.store:
        made |= bucket.resources(project.store, has_stream=bool(project.stream))
    if project.lake.store:
        more = renewal.lifecycle(project.lake.store.prefix) if project.predict.on_sagemaker else []
        more += [catalog.expiry(project.lake.store.prefix)] if catalog.published(project) else []
        made |= bucket.lake_resources(project.lake.store, more)
    if catalog.published(project):
        made |= catalog.resources(project)
    if converging.on_redshift(project):
        made |= converging.resources(project, _attached(needed))
    if spark_on_aws(project):
        attached = [ref(_policy_name("spark", number)) for number in range(len(needed["spark"]))]
        made |= spark.resources(project, [*attached, either("HasKey", ref("KeyPolicy"))])
    if project.predict.on_sagemaker:
        made |= renewal.resources(project, _attached(needed))
    return {**made, **_accounts(needed)}


def _attached(needed: dict[str, list[Document]]) -> dict[str, list[Resource]]:
    """By the role, the policies of models on SageMaker, and of a warehouse in Redshift."""

    def of(*accounts: str) -> list[Resource]:
        found = [ref(_policy_name(each, number)) for each in accounts for number in range(len(needed.get(each, ())))]
        return [*found, either("HasKey", ref("KeyPolicy"))]

    several = ("sagemaker", "schedule", "pull", "converge", "copy")
    steps = {step: of(account, "renewal") for step, account in renewal.POLICIES.items()}
    return {**{account: of(account) for account in several}, **steps}


def _explained(name: str, resource: Resource) -> Resource:
    skipped = [{"id": check, "comment": reason} for check, reason in _ACCEPTED.get(name, {}).items()]
    return {**resource, "Metadata": {"checkov": {"skip": skipped}}} if skipped else resource


def _marks() -> Resource:
    """Kept when the stack is deleted: with it goes what says how far a migration is."""
    names = ("target", "migration")
    by_key = {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": ref("KeyArn")}
    properties = {
        "TableName": ref("MarkTable"),
        "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name in names],
        "KeySchema": [
            {"AttributeName": name, "KeyType": role} for name, role in zip(names, ("HASH", "RANGE"), strict=True)
        ],
        "BillingMode": "PAY_PER_REQUEST",
        "SSESpecification": either("HasKey", by_key, {"SSEEnabled": True}),
        "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
    }
    return {**kept("AWS::DynamoDB::Table", properties), "Condition": "MakesMarks"}


def _accounts(needed: dict[str, list[Document]]) -> Resource:
    said = {
        "function": "of the function's role",
        "migrate": "for whoever runs the commands of a migration",
        "verify": "for `whimbrel verify` beside a migration that runs: it can only read",
        "cutover": "for `whimbrel cutover`, beside that of a migration",
        "rollback": "for `whimbrel rollback`, beside that of a migration",
        "finish": "for `whimbrel finish`, beside that of a migration",
        "spark": "of the role of Spark's jobs",
        "export": "for `whimbrel export`",
        "restore": "for `whimbrel restore`, of tables with a [[dataset]]",
        "renew": "for `whimbrel renew`",
        "convert": "for `whimbrel convert`, in a lake in S3",
        "query": "for `whimbrel query` and `train`, of a lake in S3",
        "train": "for `whimbrel train` on SageMaker",
        "gate": "for comparing a new model with the one in service",
        "serve": "for `whimbrel endpoint` and `predict` of endpoints on SageMaker",
        "renewal": "for each step of a renewal on SageMaker, beside its own",
        "sagemaker": "of the role of training jobs and models",
        "schedule": "of the state machine's role",
        "converge": "for `whimbrel converge`, into Redshift",
        "copy": "of the role with which Redshift reads the stage",
        "pull": "of the role by which the steps' tasks begin",
    }
    made = {
        _policy_name(name, number): _policy(said[name], _substituted(document))
        for name, parts in needed.items()
        for number, document in enumerate(parts)
    }
    key = _policy("the key, for both accounts", key_document(ref("KeyArn")))
    return {**made, "KeyPolicy": {**key, "Condition": "HasKey"}}


def _policy(said: str, document: Resource) -> Resource:
    properties = {"Description": f"whimbrel: {said}", "PolicyDocument": document}
    return {"Type": "AWS::IAM::ManagedPolicy", "Properties": properties}


def _outputs(project: Project, needed: dict[str, list[Document]]) -> Resource:
    names = [
        _policy_name(account, number)
        for account, parts in needed.items()
        if account != "function"
        for number in range(len(parts))
    ]
    made = (through.OUTPUTS if project.stream else {}) | {f"{name}Arn": ref(name) for name in names}
    if project.predict.on_sagemaker:
        made |= renewal.outputs(project)
    if converging.on_redshift(project):
        made |= converging.outputs()
    on_aws = spark_on_aws(project)
    return made | spark.outputs(on_aws) if on_aws else made


def _policy_name(name: str, number: int) -> str:
    return f"{name.capitalize()}Policy{number + 1 if number else ''}"


def _substituted(document: Document) -> Document:
    """A policy in which CloudFormation puts the names and numbers of its own stack."""
    return {
        **document,
        "Statement": [
            {**each, "Resource": [_value(resource) for resource in each["Resource"]], **_conditions_of(each)}
            for each in document["Statement"]
        ],
    }


def _conditions_of(statement: Document) -> Document:
    found = statement.get("Condition", {})
    made = {how: {key: [_value(each) for each in values] for key, values in of.items()} for how, of in found.items()}
    return {"Condition": made} if made else {}


def _value(text: str) -> Resource | str:
    """``${aws:…}`` is for IAM to fill in."""
    return sub(text) if "${" in text.replace("${aws:", "") else text
