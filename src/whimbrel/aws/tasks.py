"""What tasks of ECS that run whimbrel's image have in common: Fargate, the image's user, and nowhere to write but its
folder and /tmp.
"""

from __future__ import annotations

from whimbrel.aws.forms import Resource, arn, choice, either, ref, replaceable, role, sub

CONTAINER, STATE = "whimbrel", "state"
FOLDER = "/var/lib/whimbrel"  # where the image may write
USER = "10001"  # of the image
LOG_DAYS = 90
# By its megabytes, the thousandths of a processor of a task: Fargate has no others together.
_UNITS = {2048: 1024, 4096: 1024, 8192: 1024, 16_384: 2048, 30_720: 4096}
MAPPINGS = {"TaskUnits": {str(megabytes): {"Units": str(units)} for megabytes, units in _UNITS.items()}}


def megabytes(said: str, default: int) -> Resource:
    """The parameter of a task's memory."""
    return choice(said, str(default), *(str(each) for each in _UNITS if each != default))


def cluster(name: str) -> Resource:
    """``name``, here and below: the parameter that has it."""
    settings = [{"Name": "containerInsights", "Value": "enabled"}]
    properties = {"ClusterName": ref(name), "ClusterSettings": settings}
    return {"Type": "AWS::ECS::Cluster", "Properties": properties}


def logs(name: str) -> Resource:
    properties = {
        "LogGroupName": sub(f"/ecs/${{{name}}}"),
        "RetentionInDays": LOG_DAYS,
        "KmsKeyId": either("HasKey", ref("KeyArn")),
    }
    return replaceable("AWS::Logs::LogGroup", properties)


def container(image: str, group: str, prefix: str, more: Resource) -> Resource:
    """Its lines go to the log group ``group``, below ``prefix``. ``more`` is what only this one has."""
    options = {"awslogs-group": ref(group), "awslogs-region": ref("AWS::Region"), "awslogs-stream-prefix": prefix}
    return {
        "Name": CONTAINER,
        "Image": ref(image),
        "Essential": True,
        "ReadonlyRootFilesystem": True,
        "User": USER,
        **more,
        "MountPoints": [
            {"SourceVolume": STATE, "ContainerPath": FOLDER, "ReadOnly": False},
            {"SourceVolume": "tmp", "ContainerPath": "/tmp", "ReadOnly": False},
        ],
        "LogConfiguration": {"LogDriver": "awslogs", "Options": options},
    }


def task(memory: str, own_role: str, pull_role: str, container: Resource, more: Resource) -> Resource:
    """``more`` has at least its family and its volumes, of which one is STATE and one is "tmp"."""
    properties = {
        "RequiresCompatibilities": ["FARGATE"],
        "NetworkMode": "awsvpc",
        "Cpu": {"Fn::FindInMap": ["TaskUnits", ref(memory), "Units"]},
        "Memory": ref(memory),
        "TaskRoleArn": arn(own_role),
        "ExecutionRoleArn": arn(pull_role),
        "ContainerDefinitions": [container],
        **more,
    }
    return {"Type": "AWS::ECS::TaskDefinition", "Properties": properties}


def passes(*roles: str) -> Resource:
    """The statement that lets who begins a task hand it its roles, which are known in the stack alone."""
    return {
        "Sid": "PassRoles",
        "Effect": "Allow",
        "Action": ["iam:PassRole"],
        "Resource": [arn(each) for each in roles],
        "Condition": {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}},
    }


def schedule_role() -> Resource:
    """By which EventBridge reads what it hands to a target, where a key encrypts that."""
    return role("scheduler", [either("HasKey", ref("KeyPolicy"))])


def schedule(expression: Resource | str, target: Resource, more: Resource | None = None) -> Resource:
    """By the clock of UTC."""
    properties = {
        "ScheduleExpression": expression,
        "ScheduleExpressionTimezone": "UTC",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "KmsKeyArn": either("HasKey", ref("KeyArn")),
        "Target": {**target, "RetryPolicy": {"MaximumRetryAttempts": 3}},
        **(more or {}),
    }
    return {"Type": "AWS::Scheduler::Schedule", "Properties": properties}
