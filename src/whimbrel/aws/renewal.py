"""The part of a template for models on SageMaker: the role of jobs and models, alarms for endpoints, and a state
machine that renews by the clock.

A renewal's steps are tasks of ECS (Fargate), one after the other, each in whimbrel's container with a role of its own.
What they have in common is in the bucket: which steps are done, who renews, and the line of each run.
"""

from __future__ import annotations

import json
from typing import Any

from whimbrel.aws import tasks
from whimbrel.aws.forms import (
    Resource,
    arn,
    either,
    is_given,
    number,
    perhaps,
    ref,
    role,
    sub,
    text,
    with_policy,
)
from whimbrel.aws.predicting import PROJECT_FILE, hosted
from whimbrel.project import Project
from whimbrel.project.renew import STEPS, RenewalRule, cron_error, cron_fault

# By step, the policies of its task beside that of every step.
POLICIES = {"export": "export", "convert": "convert", "train": "train", "gate": "gate", "update": "serve"}
RENEW_NAME = "whimbrel-renew"
MOST_HOURS = 12  # of one step
RETRIES, RETRIES_TO_TELL = 2, 5
TRAINING_DAYS, CAPTURED_DAYS = 30, 90
CONDITIONS = {"HasRenewTopic": is_given("RenewTopicEmail")}


def parameters(project: Project) -> Resource:
    made: Resource = {}
    if hosted(project):
        made["EndpointSlowMs"] = number("Milliseconds that 9 of 10 calls may take at the model", 1000, 1, 60_000)
    if project.predict.renewals_there:
        settings, store = project.predict.sagemaker, project.lake.store
        assert settings, "the project file was refused without it"
        assert store, "the project file was refused without it"
        made |= {
            "RenewName": text("Name of the state machine, and of what it runs", RENEW_NAME, "[a-zA-Z0-9-]{1,32}"),
            "RenewImage": text("The image of whimbrel; [sagemaker] image of the project file", settings.image, ".+"),
            "RenewProject": text("Where the project file is", f"{store.url}/{PROJECT_FILE}", "s3://.+"),
            "RenewSubnets": {"Type": "List<AWS::EC2::Subnet::Id>", "Description": "Subnets of the steps' tasks"},
            "RenewSecurityGroups": {
                "Type": "List<AWS::EC2::SecurityGroup::Id>",
                "Description": "Security groups of the steps' tasks",
            },
            "RenewMegabytes": tasks.megabytes("Megabytes of a step's task", 4096),
            "RenewTopicEmail": perhaps("E-mail address that hears of a failed renewal; empty for none"),
        }
    return made


def conditions(project: Project) -> Resource:
    return dict(CONDITIONS) if project.predict.renewals_there else {}


def resources(project: Project, attached: dict[str, list[Resource]]) -> dict[str, Resource]:
    """``attached``: by account, the policies of its role."""
    made = {"SageMakerRole": role("sagemaker", attached["sagemaker"])}
    for place, rule in enumerate(hosted(project), 1):
        made |= _alarms(str(place) if place > 1 else "", rule.name, rule.variant)
    return made | (_machine(project, attached) if project.predict.renewals_there else {})


def outputs(project: Project) -> Resource:
    made = {"SageMakerRoleArn": arn("SageMakerRole")}
    return made | ({"RenewMachineArn": ref("RenewMachine")} if project.predict.renewals_there else {})


def lifecycle(prefix: str) -> list[Resource]:
    """Rows and artifacts of jobs, and captured calls, go after a while; models and records stay."""
    ages = {"training": TRAINING_DAYS, "captured": CAPTURED_DAYS}
    return [
        {"Id": name, "Status": "Enabled", "Prefix": f"{prefix}/{name}/", "ExpirationInDays": days}
        for name, days in ages.items()
    ]


def definition(place: dict[str, Any]) -> dict[str, Any]:
    """The state machine. ``place`` has the cluster, the task definitions by step, the network and the topic.

    Its input names the model: ``{"model": "…"}``. Each step may be repeated, so it is, after a while; what fails then
    is told, and the execution fails. The next one continues with the step that was not done.
    """
    states: dict[str, Any] = {}
    for step, following in zip(STEPS, (*STEPS[1:], ""), strict=True):
        states[step.capitalize()] = _state(place, step, following)
    told = "States.Format('The renewal of {} failed. {}', $.model, States.JsonToString($.error))"
    states["Tell"] = {
        "Type": "Task",
        "Resource": "arn:${AWS::Partition}:states:::sns:publish",
        "Parameters": {"TopicArn": place["topic"], "Subject": "whimbrel renew failed", "Message.$": told},
        "ResultPath": None,
        "Retry": [_retry(RETRIES_TO_TELL, 2)],
        "Next": "Failed",
    }
    states["Failed"] = {"Type": "Fail", "Error": "RenewalFailed", "Cause": "A step failed; its log says why."}
    return {"Comment": "whimbrel renew, step by step", "StartAt": STEPS[0].capitalize(), "States": states}


def _state(place: dict[str, Any], step: str, following: str) -> dict[str, Any]:
    words = ("renew", "--model", "$.model", "--step", step, "--execution", "$$.Execution.Id")
    command = ", ".join(word if word.startswith("$") else f"'{word}'" for word in words)
    network = {"Subnets": place["subnets"], "SecurityGroups": place["groups"], "AssignPublicIp": "DISABLED"}
    return {
        "Type": "Task",
        "Resource": "arn:${AWS::Partition}:states:::ecs:runTask.sync",
        "Parameters": {
            "LaunchType": "FARGATE",
            "Cluster": place["cluster"],
            "TaskDefinition": place["tasks"][step],
            "NetworkConfiguration": {"AwsvpcConfiguration": network},
            "Overrides": {
                "ContainerOverrides": [{"Name": tasks.CONTAINER, "Command.$": f"States.Array({command})"}],
            },
        },
        "ResultPath": None,
        "TimeoutSeconds": MOST_HOURS * 3600,
        "Retry": [_retry(RETRIES, 5)],
        "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": "Tell"}],
        **({"Next": following.capitalize()} if following else {"End": True}),
    }


def _retry(attempts: int, rate: int) -> dict[str, Any]:
    """After whatever a task, or the service that it asks, ends with."""
    errors = ["States.TaskFailed", "States.Timeout"]
    return {"ErrorEquals": errors, "IntervalSeconds": 60, "MaxAttempts": attempts, "BackoffRate": rate}


def _machine(project: Project, attached: dict[str, list[Resource]]) -> dict[str, Resource]:
    topic = {
        "TopicName": sub("${RenewName}-failed"),
        "KmsMasterKeyId": either("HasKey", ref("KeyArn"), "alias/aws/sns"),
        "Subscription": either("HasRenewTopic", [{"Endpoint": ref("RenewTopicEmail"), "Protocol": "email"}]),
    }
    place = {
        "cluster": arn("RenewCluster"),
        "tasks": {step: ref(f"Renew{step.capitalize()}Task") for step in STEPS},
        "subnets": ref("RenewSubnets"),
        "groups": ref("RenewSecurityGroups"),
        "topic": ref("RenewTopic"),
    }
    machine = {
        "StateMachineName": ref("RenewName"),
        "RoleArn": arn("RenewRole"),
        "Definition": _filled(definition(place)),
        "TracingConfiguration": {"Enabled": False},
    }
    made: dict[str, Resource] = {
        "RenewCluster": tasks.cluster("RenewName"),
        "RenewLogs": tasks.logs("RenewName"),
        "RenewTopic": {"Type": "AWS::SNS::Topic", "Properties": topic},
        "RenewPullRole": role("ecs-tasks", [*attached["pull"]]),
        "RenewRole": _passing(role("states", attached["schedule"])),
        "RenewMachine": {"Type": "AWS::StepFunctions::StateMachine", "Properties": machine},
        "RenewStartRole": _starting(),
    }
    for step in STEPS:
        made[f"Renew{step.capitalize()}Role"] = role("ecs-tasks", attached[step])
        made[f"Renew{step.capitalize()}Task"] = _task(step)
    for place_, rule in enumerate(project.predict.renewals_there, 1):
        made[f"RenewSchedule{place_ if place_ > 1 else ''}"] = _schedule(rule)
    return made


def _filled(value: Any) -> Any:
    """With the partition, which is in some ARNs of the services themselves."""
    if isinstance(value, dict):
        return {key: _filled(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_filled(each) for each in value]
    return sub(value) if isinstance(value, str) and "${" in value else value


def _task(step: str) -> Resource:
    """What it writes goes with it."""
    environment = {"Environment": [{"Name": "WHIMBREL_PROJECT", "Value": ref("RenewProject")}]}
    own = {
        "Family": sub(f"${{RenewName}}-{step}"),
        "EphemeralStorage": {"SizeInGiB": 50},
        "Volumes": [{"Name": tasks.STATE}, {"Name": "tmp"}],
    }
    container = tasks.container("RenewImage", "RenewLogs", step, environment)
    return tasks.task("RenewMegabytes", f"Renew{step.capitalize()}Role", "RenewPullRole", container, own)


def _passing(made: Resource) -> Resource:
    roles = [f"Renew{step.capitalize()}Role" for step in STEPS]
    return with_policy(made, "pass", tasks.passes(*roles, "RenewPullRole"))


def _starting() -> Resource:
    allowed = {
        "Sid": "Start",
        "Effect": "Allow",
        "Action": ["states:StartExecution"],
        "Resource": [ref("RenewMachine")],
    }
    return with_policy(tasks.schedule_role(), "start", allowed)


def _schedule(rule: RenewalRule) -> Resource:
    """Raises ProjectError where EventBridge would read the rule's cron otherwise than ``whimbrel schedule``."""
    if fault := cron_fault(rule.cron):
        raise cron_error(rule, fault)
    target = {
        "Arn": ref("RenewMachine"),
        "RoleArn": arn("RenewStartRole"),
        "Input": json.dumps({"model": rule.model}),
    }
    return tasks.schedule(schedule_of(rule.cron), target)


def schedule_of(cron: str) -> str:
    """The five fields of cron as EventBridge has them: one of the two days is ``?``, and there is a year."""
    minute, hour, day, month, weekday = cron.split()
    day, weekday = ("?", weekday.upper()) if weekday != "*" else (day, "?")
    return f"cron({minute} {hour} {day} {month.upper()} {weekday} *)"


def _alarms(number_: str, endpoint: str, variant: str) -> dict[str, Resource]:
    of = [{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": variant}]
    errors = {"MetricName": "Invocation5XXErrors", "Statistic": "Sum", "Threshold": 0}
    # SageMaker counts microseconds, and CloudFormation does not multiply: three digits more.
    slow = {"MetricName": "ModelLatency", "ExtendedStatistic": "p90", "Threshold": sub("${EndpointSlowMs}000")}
    shared = {
        "Namespace": "AWS/SageMaker",
        "Dimensions": of,
        "Period": 60,
        "EvaluationPeriods": 1,
        "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": "notBreaching",
    }
    return {
        f"Endpoint{kind}{number_}": {
            "Type": "AWS::CloudWatch::Alarm",
            "Properties": {"AlarmName": f"{endpoint}-{kind.lower()}", "AlarmDescription": said, **shared, **more},
        }
        for kind, said, more in (
            ("Errors", f"Calls of {endpoint} fail", errors),
            ("Slow", f"Calls of {endpoint} take long", slow),
        )
    }
