"""What AWS has for a warehouse in Redshift: a bucket where rows wait for COPY, the role that Redshift takes to read it,
and a task that converges by the clock.

The task runs `whimbrel converge --until-caught-up` in whimbrel's container. Its state folder and the project file are
on a file system of EFS, which locks files for all that have it: of two tasks at once, the second one ends.
"""

from __future__ import annotations

from collections.abc import Iterator

from whimbrel.aws import tasks
from whimbrel.aws.allowed import Allowed, lists, of
from whimbrel.aws.bucket import stage_parameters, stage_resources
from whimbrel.aws.forms import Resource, arn, either, given, kept, ref, role, sub, text, with_policy
from whimbrel.aws.lake_policies import carried
from whimbrel.project import Project, Warehouse

STAGE = "arn:${AWS::Partition}:s3:::${StageBucket}"
LONGEST = {"StageBucket": 63, "ConvergeName": 32, "WorkgroupId": 64, "RedshiftCluster": 63}
_ACCOUNT = "${AWS::Region}:${AWS::AccountId}"
_CLUSTER = f"arn:${{AWS::Partition}}:redshift:{_ACCOUNT}:"
_WORKGROUP = f"arn:${{AWS::Partition}}:redshift-serverless:{_ACCOUNT}:workgroup/${{WorkgroupId}}"
_OWN = ("StringEquals", "redshift-data:statement-owner-iam-userid", ("${aws:userid}",))


def on_redshift(project: Project) -> Warehouse | None:
    """None where the project has no warehouse in Redshift."""
    found = project.warehouse
    return found if found and found.engine == "redshift" else None


def converging(project: Project) -> dict[str, list[Allowed]]:
    """By account: whoever runs `whimbrel converge`, and Redshift itself."""
    found = on_redshift(project)
    if found is None:
        return {}
    assert found.stage, "the project file was refused without it"
    prefix = found.stage.prefix
    below = (f"{STAGE}/{prefix}/*",)
    puts = Allowed("Stage", of("s3", ("DeleteObject", "GetObject", "PutObject")), below)
    reads = [Allowed("Rows", of("s3", ("GetObject",)), below), lists("RowsList", STAGE, prefix)]
    return {"converge": [puts, *_asks(found), *carried(project)], "copy": reads}


def _asks(found: Warehouse) -> Iterator[Allowed]:
    """The Data API: of a statement, whoever began it alone hears."""
    if not found.by_data_api:
        return
    if found.cluster:
        names = (f"dbuser:${{RedshiftCluster}}/{found.user}", f"dbname:${{RedshiftCluster}}/{found.database}")
        yield Allowed("SignIn", of("redshift", ("GetClusterCredentials",)), tuple(_CLUSTER + each for each in names))
        place = f"{_CLUSTER}cluster:${{RedshiftCluster}}"
    else:
        yield Allowed("SignIn", of("redshift-serverless", ("GetCredentials",)), (_WORKGROUP,))
        place = _WORKGROUP
    yield Allowed("AskRedshift", of("redshift-data", ("ExecuteStatement",)), (place,))
    follows = of("redshift-data", ("DescribeStatement", "GetStatementResult"))
    yield Allowed("FollowRedshift", follows, ("*",), _OWN)  # IAM takes no other resource for these


def parameters(found: Warehouse, project: Project) -> Resource:
    assert found.stage, "the project file was refused without it"
    made = {
        **stage_parameters(found.stage),
        "ConvergeName": text("Name of the cluster, the task and the schedule", "whimbrel-converge", "[a-z0-9-]{1,32}"),
        "ConvergeImage": given("An image of whimbrel that has its extra 'warehouse'"),
        "ConvergeRate": text("When it runs", "rate(15 minutes)", "(rate|cron)[(].+[)]"),
        "ConvergeSubnet": {"Type": "AWS::EC2::Subnet::Id", "Description": "Subnet of the task and its file system"},
        "ConvergeSecurityGroup": {
            "Type": "AWS::EC2::SecurityGroup::Id",
            "Description": "Of both: it must let NFS, port 2049, in from itself",
        },
        "ConvergeMegabytes": tasks.megabytes("Megabytes of the task", 2048),
    }
    if found.cluster:
        made["RedshiftCluster"] = text("The cluster of warehouse.url", found.cluster, "[a-z][a-z0-9-]{0,62}")
    elif found.workgroup:
        made["WorkgroupId"] = given("The id of the workgroup, which is in its ARN: not its name")
    return made | {
        _secret(place): given(f"ARN of the secret of Secrets Manager that is {name}")
        for place, name in enumerate(passwords(project), 1)
    }


def passwords(project: Project) -> list[str]:
    """The environment variables from which the project file has passwords read."""
    assert project.warehouse, "asked before"
    named = {project.warehouse.password_env, *(silo.password_env for silo in project.silos)}
    return sorted(filter(None, named))


def resources(project: Project, attached: dict[str, list[Resource]]) -> dict[str, Resource]:
    """``attached``: the policies of the two accounts."""
    found = on_redshift(project)
    assert found, "asked before"
    assert found.stage, "the project file was refused without it"
    return {
        **stage_resources(found.stage),
        "RedshiftCopyRole": _copying(attached["copy"]),
        "ConvergeLogs": tasks.logs("ConvergeName"),
        **_files(),
        "ConvergeCluster": tasks.cluster("ConvergeName"),
        "ConvergeRole": _mounting(role("ecs-tasks", attached["converge"])),
        "ConvergePullRole": _pulling(role("ecs-tasks", []), passwords(project)),
        "ConvergeTask": _task(passwords(project)),
        "ConvergeScheduleRole": _starting(tasks.schedule_role()),
        "ConvergeSchedule": _schedule(),
    }


def outputs() -> Resource:
    return {"RedshiftCopyRoleArn": arn("RedshiftCopyRole"), "ConvergeFilesId": ref("ConvergeFiles")}


def _secret(place: int) -> str:
    return f"Password{place}Arn"


def _files() -> dict[str, Resource]:
    """Kept when the stack is deleted: with the state folder goes what says how far each silo is."""
    system = {
        "Encrypted": True,
        "KmsKeyId": either("HasKey", ref("KeyArn")),
        "BackupPolicy": {"Status": "ENABLED"},
    }
    mount = {
        "FileSystemId": ref("ConvergeFiles"),
        "SubnetId": ref("ConvergeSubnet"),
        "SecurityGroups": [ref("ConvergeSecurityGroup")],
    }
    point = {
        "FileSystemId": ref("ConvergeFiles"),
        "PosixUser": {"Uid": tasks.USER, "Gid": tasks.USER},
        "RootDirectory": {
            "Path": "/whimbrel",
            "CreationInfo": {"OwnerUid": tasks.USER, "OwnerGid": tasks.USER, "Permissions": "0700"},
        },
    }
    return {
        "ConvergeFiles": kept("AWS::EFS::FileSystem", system),
        "ConvergeMount": {"Type": "AWS::EFS::MountTarget", "Properties": mount},
        "ConvergePoint": {"Type": "AWS::EFS::AccessPoint", "Properties": point},
    }


def _task(secrets: list[str]) -> Resource:
    own = {
        "Command": ["converge", "--until-caught-up"],
        "Secrets": [{"Name": name, "ValueFrom": ref(_secret(place))} for place, name in enumerate(secrets, 1)],
    }
    by_point = {"AccessPointId": ref("ConvergePoint"), "IAM": "ENABLED"}
    files = {"FilesystemId": ref("ConvergeFiles"), "TransitEncryption": "ENABLED", "AuthorizationConfig": by_point}
    volumes = [{"Name": tasks.STATE, "EFSVolumeConfiguration": files}, {"Name": "tmp"}]
    container = tasks.container("ConvergeImage", "ConvergeLogs", "converge", own)
    more = {"Family": ref("ConvergeName"), "Volumes": volumes}
    return tasks.task("ConvergeMegabytes", "ConvergeRole", "ConvergePullRole", container, more)


def _copying(policies: list[Resource]) -> Resource:
    """Clusters take it by the first name, workgroups by either."""
    made = role("redshift", policies)
    principal = {"Service": ["redshift.amazonaws.com", "redshift-serverless.amazonaws.com"]}
    trust = made["Properties"]["AssumeRolePolicyDocument"]
    statements = [{**each, "Principal": principal} for each in trust["Statement"]]
    return {
        **made,
        "Properties": {**made["Properties"], "AssumeRolePolicyDocument": {**trust, "Statement": statements}},
    }


def _mounting(made: Resource) -> Resource:
    mounts = {
        "Sid": "Mount",
        "Effect": "Allow",
        "Action": ["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"],
        "Resource": [arn("ConvergeFiles")],
        "Condition": {"StringEquals": {"elasticfilesystem:AccessPointArn": arn("ConvergePoint")}},
    }
    return with_policy(made, "mount", mounts)


def _pulling(made: Resource, secrets: list[str]) -> Resource:
    pulls = {
        "Sid": "Pull",
        "Effect": "Allow",
        "Action": ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
        "Resource": [sub(f"arn:${{AWS::Partition}}:ecr:{_ACCOUNT}:repository/*")],
    }
    signs_in = {"Sid": "SignIn", "Effect": "Allow", "Action": ["ecr:GetAuthorizationToken"], "Resource": ["*"]}
    logs = {
        "Sid": "Logs",
        "Effect": "Allow",
        "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
        "Resource": [arn("ConvergeLogs")],
    }
    reads = {
        "Sid": "Passwords",
        "Effect": "Allow",
        "Action": ["secretsmanager:GetSecretValue"],
        "Resource": [ref(_secret(place)) for place in range(1, len(secrets) + 1)],
    }
    return with_policy(made, "begin", pulls, signs_in, logs, *([reads] if secrets else []))


def _starting(made: Resource) -> Resource:
    starts = {
        "Sid": "Start",
        "Effect": "Allow",
        "Action": ["ecs:RunTask"],
        "Resource": [ref("ConvergeTask")],
        "Condition": {"ArnEquals": {"ecs:cluster": arn("ConvergeCluster")}},
    }
    return with_policy(made, "start", starts, tasks.passes("ConvergeRole", "ConvergePullRole"))


def _schedule() -> Resource:
    network = {
        "Subnets": [ref("ConvergeSubnet")],
        "SecurityGroups": [ref("ConvergeSecurityGroup")],
        "AssignPublicIp": "DISABLED",
    }
    task = {
        "TaskDefinitionArn": ref("ConvergeTask"),
        "LaunchType": "FARGATE",
        "TaskCount": 1,
        "NetworkConfiguration": {"AwsvpcConfiguration": network},
    }
    target = {
        "Arn": arn("ConvergeCluster"),
        "RoleArn": arn("ConvergeScheduleRole"),
        "EcsParameters": task,
    }
    return tasks.schedule(ref("ConvergeRate"), target, {"Name": ref("ConvergeName")})
