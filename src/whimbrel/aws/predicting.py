"""Who may do what where models are trained and answer on SageMaker: the statements of each account.

- ``train`` trains: rows and jobs; ``gate`` compares two models; ``serve`` makes and updates endpoints, and asks them.
- ``renewal`` is what each step of a renewal has beside those: the run, the lock, the record, the project file.
- ``sagemaker`` is the role by which jobs and models work; ``schedule`` that of the state machine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from whimbrel.aws.allowed import LAKE, Allowed, lists, of
from whimbrel.project import Project
from whimbrel.project.endpoint import EndpointRule
from whimbrel.project.sagemaker import LINEAR_LEARNER

_HERE = "arn:${AWS::Partition}:%s:${AWS::Region}:${AWS::AccountId}:%s"
_ROLE = "${SageMakerRole.Arn}"
_PULL = ("BatchCheckLayerAvailability", "BatchGetImage", "GetDownloadUrlForLayer")
_ADDRESS = re.compile(r"([0-9]{12})\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/([^:@]+)(?:[:@].*)?")
_INTERFACES = ("CreateNetworkInterface", "CreateNetworkInterfacePermission", "DeleteNetworkInterface")
_NETWORK = (  # IAM takes no other resource for these
    *("DeleteNetworkInterfacePermission", "DescribeDhcpOptions", "DescribeNetworkInterfaces"),
    *("DescribeSecurityGroups", "DescribeSubnets", "DescribeVpcs"),
)
PROJECT_FILE = "whimbrel.toml"  # in the lake's part of the bucket, for the steps of a renewal


def predicting(project: Project) -> dict[str, list[Allowed]]:
    """Nothing where no part of the project is on SageMaker."""
    if not project.predict.on_sagemaker or not project.lake.store:
        return {}
    made = {"sagemaker": list(_works(project)), "gate": list(_gate(project))}
    if any(rule.training for rule in project.predict.models):
        made["train"] = [*_trains(project), *made["gate"]]
    if hosted(project):
        made["serve"] = [*_serves(project), *_presents(project)]
    if project.predict.renewals_there:
        made |= {"renewal": list(_renews(project)), "schedule": list(_schedules()), "pull": list(_begins(project))}
    return made


def hosted(project: Project) -> list[EndpointRule]:
    return [rule for rule in project.predict.endpoints if rule.hosting]


def images(project: Project) -> list[str]:
    """The ARNs of the repositories from which jobs and models are pulled; linear-learner's own, in any region."""
    settings = project.predict.sagemaker
    assert settings, "the project file was refused without it"
    found = []
    for address in filter(None, (settings.image, settings.algorithm_image)):
        if known := _ADDRESS.fullmatch(address):
            found.append(f"arn:${{AWS::Partition}}:ecr:{known[2]}:{known[1]}:repository/{known[3]}")
    by_algorithm = any(rule.learner == LINEAR_LEARNER for rule in project.predict.models)
    if by_algorithm and not settings.algorithm_image:
        found.append("arn:${AWS::Partition}:ecr:${AWS::Region}:*:repository/linear-learner")
    return found


def pulls(repositories: list[str]) -> Iterator[Allowed]:
    if repositories:
        yield Allowed("Pull", of("ecr", _PULL), tuple(repositories))
    yield Allowed("PullToken", of("ecr", ("GetAuthorizationToken",)), ("*",))  # IAM takes no other resource for it


def _in_lake(project: Project, *parts: str) -> tuple[str, ...]:
    assert project.lake.store, "asked before"
    return tuple(f"{LAKE}/{project.lake.store.prefix}/{part}/*" for part in parts)


def _gate(project: Project) -> Iterator[Allowed]:
    """Both models, and the rows that are held out."""
    read = of("s3", ("GetObject",))
    yield Allowed("Read", read, _in_lake(project, "datasets", "models", "training"))
    yield _lists(project)
    if hosted(project):
        yield from _presents(project)


def _trains(project: Project) -> Iterator[Allowed]:
    jobs = (_HERE % ("sagemaker", "training-job/whimbrel-*"),)
    asks = ("AddTags", "CreateTrainingJob", "DescribeTrainingJob", "StopTrainingJob")
    yield Allowed("Jobs", of("sagemaker", asks), jobs)
    yield Allowed("FindJobs", of("sagemaker", ("ListTrainingJobs",)), ("*",))  # IAM takes no other resource for it
    yield from _passes()
    logs = _HERE % ("logs", "log-group:/aws/sagemaker/TrainingJobs:*")
    yield from _key(project)
    yield Allowed("JobLogs", of("logs", ("DescribeLogStreams", "GetLogEvents")), (logs,))
    yield Allowed("Rows", of("s3", ("AbortMultipartUpload", "PutObject")), _in_lake(project, "models", "training"))


def _passes() -> Iterator[Allowed]:
    to = ("StringEquals", "iam:PassedToService", ("sagemaker.amazonaws.com",))
    yield Allowed("PassRole", of("iam", ("PassRole",)), (_ROLE,), to)


def _key(project: Project) -> Iterator[Allowed]:
    """A key for volumes is used by AWS in the name of whoever asks, by a grant."""
    settings = project.predict.sagemaker
    if settings and settings.key:
        actions = ("CreateGrant", "Decrypt", "DescribeKey", "GenerateDataKey")
        yield Allowed("Key", of("kms", actions), (settings.key,))


def _presents(project: Project) -> Iterator[Allowed]:
    """Which model an endpoint answers with."""
    yield Allowed("SeeEndpoint", of("sagemaker", ("DescribeEndpoint",)), _endpoints(project))
    yield Allowed("SeeConfig", of("sagemaker", ("DescribeEndpointConfig",)), _made_for(project, "endpoint-config"))
    yield Allowed("SeeModel", of("sagemaker", ("DescribeModel",)), _made_for(project, "model"))


def _serves(project: Project) -> Iterator[Allowed]:
    endpoints, configs = _endpoints(project), _made_for(project, "endpoint-config")
    models = _made_for(project, "model")
    yield Allowed("Models", of("sagemaker", ("CreateModel",)), models)
    yield Allowed("Configs", of("sagemaker", ("CreateEndpointConfig",)), configs)
    yield Allowed("Endpoints", of("sagemaker", ("CreateEndpoint", "UpdateEndpoint")), (*endpoints, *configs))
    yield Allowed("Tags", of("sagemaker", ("AddTags",)), (*endpoints, *configs, *models))
    asks = ("DeleteEndpoint", "InvokeEndpoint", "UpdateEndpointWeightsAndCapacities")
    yield Allowed("Ask", of("sagemaker", asks), endpoints)
    yield from _passes()
    yield from _key(project)
    artifacts = of("s3", ("AbortMultipartUpload", "GetObject", "PutObject"))
    yield Allowed("Artifacts", artifacts, _in_lake(project, "models"))
    yield Allowed("Captured", of("s3", ("GetObject",)), _in_lake(project, "captured"))
    yield _lists(project)
    rules = [rule.hosting for rule in hosted(project) if rule.hosting]
    if any(each.alarms for each in rules):
        yield Allowed("Alarms", of("cloudwatch", ("DescribeAlarms",)), (_HERE % ("cloudwatch", "alarm:*"),))
    if any(each.most_instances for each in rules):
        yield from _scales()


def _scales() -> Iterator[Allowed]:
    """Autoscaling watches by alarms of CloudWatch, which it makes in the name of whoever asks for it."""
    service = "application-autoscaling"
    asks = of(service, ("PutScalingPolicy", "RegisterScalableTarget"))
    yield Allowed("Scale", asks, (_HERE % (service, "scalable-target/*"),))
    alarms = ("DeleteAlarms", "DescribeAlarms", "PutMetricAlarm")
    yield Allowed("ScaleAlarms", of("cloudwatch", alarms), (_HERE % ("cloudwatch", "alarm:TargetTracking-endpoint/*"),))
    name = "sagemaker.application-autoscaling.amazonaws.com"
    role = f"arn:${{AWS::Partition}}:iam::${{AWS::AccountId}}:role/aws-service-role/{name}/*"
    only = ("StringEquals", "iam:AWSServiceName", (name,))
    yield Allowed("ScaleRole", of("iam", ("CreateServiceLinkedRole",)), (role,), only)


def _renews(project: Project) -> Iterator[Allowed]:
    assert project.lake.store, "asked before"
    yield Allowed("Runs", of("s3", ("GetObject", "PutObject")), _in_lake(project, "renewals"))
    file = f"{LAKE}/{project.lake.store.prefix}/{PROJECT_FILE}"
    yield Allowed("ProjectFile", of("s3", ("GetObject",)), (file,))


def _works(project: Project) -> Iterator[Allowed]:
    """What jobs read and leave, and what models are fetched from; in a network of one's own, its interfaces too."""
    settings = project.predict.sagemaker
    assert settings, "the project file was refused without it"
    yield Allowed("Fetch", of("s3", ("GetObject",)), _in_lake(project, "models", "training"))
    yield Allowed("Leave", of("s3", ("AbortMultipartUpload", "PutObject")), _in_lake(project, "captured", "training"))
    yield _lists(project)
    yield from pulls(images(project))
    yield from _key(project)
    logs = ("CreateLogGroup", "CreateLogStream", "DescribeLogStreams", "PutLogEvents")
    yield Allowed("Logs", of("logs", logs), (_HERE % ("logs", "log-group:/aws/sagemaker/*"),))
    only = ("StringLike", "cloudwatch:namespace", ("/aws/sagemaker/*", "AWS/SageMaker"))
    yield Allowed("Figures", of("cloudwatch", ("PutMetricData",)), ("*",), only)
    if settings.subnets:
        made_of = [f"subnet/{each}" for each in settings.subnets]
        made_of += [f"security-group/{each}" for each in settings.security_groups]
        parts = tuple(_HERE % ("ec2", each) for each in ("network-interface/*", *made_of))
        yield Allowed("Interfaces", of("ec2", _INTERFACES), parts)
        here = ("StringEquals", "ec2:Region", ("${AWS::Region}",))
        yield Allowed("Network", of("ec2", _NETWORK), ("*",), here)


def _schedules() -> Iterator[Allowed]:
    """The state machine starts the tasks, follows them and ends them. Source: Step Functions' guide for ECS."""
    tasks = _HERE % ("ecs", "task-definition/${RenewName}-*")
    yield Allowed("Start", of("ecs", ("RunTask",)), (tasks,))
    yield Allowed("Follow", of("ecs", ("DescribeTasks", "StopTask")), (_HERE % ("ecs", "task/${RenewName}/*"),))
    events = ("DescribeRule", "PutRule", "PutTargets")
    rule = _HERE % ("events", "rule/StepFunctionsGetEventsForECSTaskRule")
    yield Allowed("Hear", of("events", events), (rule,))
    yield Allowed("Tell", of("sns", ("Publish",)), (_HERE % ("sns", "${RenewName}-failed"),))


def _begins(project: Project) -> Iterator[Allowed]:
    """What ECS does before a task's container runs."""
    yield from pulls(images(project))
    yield Allowed(
        "Logs", of("logs", ("CreateLogStream", "PutLogEvents")), (_HERE % ("logs", "log-group:/ecs/${RenewName}:*"),)
    )


def _lists(project: Project) -> Allowed:
    assert project.lake.store, "asked before"
    return lists("List", LAKE, project.lake.store.prefix)


def _endpoints(project: Project) -> tuple[str, ...]:
    names = [name for rule in hosted(project) for name in _both(rule.name)]
    return tuple(_HERE % ("sagemaker", f"endpoint/{name}") for name in names)


def _made_for(project: Project, kind: str) -> tuple[str, ...]:
    """What is made for the endpoints: SageMaker writes names in small letters into ARNs."""
    begins = [re.sub("[^a-zA-Z0-9]+", "-", rule.name).strip("-")[:24] for rule in hosted(project)]
    return tuple(_HERE % ("sagemaker", f"{kind}/{name}-*") for begin in begins for name in _both(begin))


def _both(name: str) -> list[str]:
    return list(dict.fromkeys((name, name.lower())))
