"""``engine = "sagemaker"``: ``[sagemaker]``, and what a ``[[model]]`` and an ``[[endpoint]]`` say of their machines."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from whimbrel.project.section import Section

ENGINES = ("local", "sagemaker")
LINEAR_LEARNER = "linear-learner"  # SageMaker's own algorithm, as a learner
SERVERLESS_MB = (1024, 2048, 3072, 4096, 5120, 6144)
MOST_SECONDS = 28 * 24 * 3600  # that SageMaker lets a training job run
# What SageMaker takes at most, by botocore's model of it and its guide.
BUILT_IN_WAIT = 3600  # seconds of a spot job of an algorithm that makes no checkpoints, as linear-learner
MOST_SHIFT = 3600  # seconds between two steps of an update, and of its baking
MOST_TEXT = 2500  # characters of a hyperparameter
_MOST_HYPERPARAMETERS = 80  # of a hundred; the rest are whimbrel's
_MOST_CONCURRENCY, _MOST_ALARMS, _MOST_SUBNETS, _MOST_GROUPS, _MOST_TAGS = 200, 10, 16, 5, 49
# Another value than whimbrel's, and the artifact could not be read.
_OURS = ("predictor_type", "feature_dim", "loss", "normalize_data", "num_classes", "use_bias")
_TAG = re.compile(r"[\w\s.:/=+@-]*")
_NETWORK = re.compile("[-0-9a-zA-Z]{1,32}")
NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")
_ROLE = re.compile(r"arn:[a-z-]+:iam::[0-9]{12}:role/[\w+=,.@/-]+")
_IMAGE = re.compile(r"[\w./:@-]{1,255}")
_KEY = re.compile(r"arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[a-zA-Z0-9-]+")
_MACHINE = re.compile(r"ml\.[a-z0-9-]+\.[a-z0-9]+")


@dataclass(frozen=True, slots=True)
class SageMaker:
    """``role`` is the ARN of the role that jobs and models work by, ``image`` that of whimbrel's container.

    ``algorithm_image`` is linear-learner's, "" for the region's own. ``key`` is the ARN of a KMS key for volumes,
    channels, artifacts and captured calls. ``endpoint`` and ``runtime_endpoint`` are VPC endpoints of the API and of
    predictions, or a stand-in's; "" for AWS.
    """

    role: str
    image: str = ""
    algorithm_image: str = ""
    key: str = ""
    subnets: tuple[str, ...] = ()
    security_groups: tuple[str, ...] = ()
    tags: dict[str, str] = field(default_factory=dict)
    endpoint: str = ""
    runtime_endpoint: str = ""


@dataclass(frozen=True, slots=True)
class TrainingMachine:
    """What a training job runs on. ``longest`` is in seconds, without what a ``spot`` job waits for its machine, which
    with it is ``longest_wait``. ``hyperparameters`` are those of linear-learner that differ from ours.
    """

    instance: str = "ml.m5.large"
    volume_gb: int = 30
    spot: bool = False
    longest: int = 3600
    longest_wait: int = 0
    hyperparameters: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Hosting:
    """What an endpoint runs on: ``instances`` machines, or with ``serverless_mb`` whatever its calls need.

    With ``most_instances``, autoscaling adds machines from ``calls_per_instance`` calls a minute on. ``alarms`` of
    CloudWatch roll an update back. A copy of each call goes to the newest version of the model ``shadow``.
    """

    instance: str = "ml.m5.large"
    instances: int = 1
    serverless_mb: int = 0
    concurrency: int = 5  # calls at once, serverless
    most_instances: int = 0
    calls_per_instance: int = 1000
    alarms: tuple[str, ...] = ()
    shadow: str = ""


def read_sagemaker(top: Section) -> SageMaker | None:
    """None without the section; what is wrong goes to the section's faults."""
    if not top.has("sagemaker"):
        return None
    section = top.section("sagemaker")
    read = SageMaker(
        role=section.required("role"),
        image=section.string("image", ""),
        algorithm_image=section.string("algorithm_image", ""),
        key=section.string("key", ""),
        subnets=tuple(section.strings("subnets")),
        security_groups=tuple(section.strings("security_groups")),
        tags=section.string_map("tags"),
        endpoint=section.address("endpoint"),
        runtime_endpoint=section.address("runtime_endpoint"),
    )
    for name, value, form, said in (
        ("role", read.role, _ROLE, "the ARN of a role"),
        ("image", read.image, _IMAGE, "the address of an image in ECR"),
        ("algorithm_image", read.algorithm_image, _IMAGE, "the address of an image in ECR"),
        ("key", read.key, _KEY, "the ARN of a KMS key"),
    ):
        if value and not form.fullmatch(value):
            section.fault(name, f"must be {said}, not {value!r}")
    if read.image.endswith(":latest"):
        section.fault("image", "is :latest, which changes under a run; name a version or a digest")
    _check_network(section, read)
    _check_tags(section, read.tags)
    if bool(read.subnets) != bool(read.security_groups):
        section.fault("subnets", "needs security_groups too, and they need subnets")
    section.finish()
    return read


def read_training(section: Section, engine: str, learner: str) -> TrainingMachine | None:
    """Of a [[model]]; None where its engine is local."""
    names = ("instance", "volume_gb", "spot", "max_runtime", "max_wait", "hyperparameters")
    if not _on_sagemaker(section, engine, names):
        return None
    default = TrainingMachine()
    read = TrainingMachine(
        instance=_machine(section, default.instance),
        volume_gb=section.integer("volume_gb", default.volume_gb, least=1),
        spot=section.flag("spot", default.spot),
        longest=section.integer("max_runtime", default.longest, least=60),
        longest_wait=section.integer("max_wait", 0),
        hyperparameters=section.string_map("hyperparameters"),
    )
    if read.longest > MOST_SECONDS:
        section.fault("max_runtime", f"must be {MOST_SECONDS} seconds or less, not {read.longest}")
    if read.longest_wait and not read.spot:
        section.fault("max_wait", "has no effect without spot = true")
    if read.spot and read.longest_wait < read.longest:
        section.fault("max_wait", f"must be {read.longest} or more, as max_runtime is, not {read.longest_wait}")
    if read.hyperparameters and learner != LINEAR_LEARNER:
        section.fault("hyperparameters", f'has no effect without learner = "{LINEAR_LEARNER}"')
    if read.spot and learner == LINEAR_LEARNER and read.longest_wait > BUILT_IN_WAIT:
        hint = f"is {BUILT_IN_WAIT} at most for {LINEAR_LEARNER}, which makes no checkpoints"
        section.fault("max_wait", f"{hint}, not {read.longest_wait}")
    _check_hyperparameters(section, read.hyperparameters)
    return read


def _check_hyperparameters(section: Section, given: dict[str, str]) -> None:
    for name, value in given.items():
        if name in _OURS:
            section.fault(f"hyperparameters.{name}", "is whimbrel's own: the model could not be read")
        if len(value) > MOST_TEXT or len(name) > 256 or "\n" in value:
            section.fault(f"hyperparameters.{name[:40]}", f"must be one line of {MOST_TEXT:,} characters at most")
    if len(given) > _MOST_HYPERPARAMETERS:
        section.fault("hyperparameters", f"must be {_MOST_HYPERPARAMETERS} at most, not {len(given)}")


def _check_network(section: Section, read: SageMaker) -> None:
    for name, given, most in (
        ("subnets", read.subnets, _MOST_SUBNETS),
        ("security_groups", read.security_groups, _MOST_GROUPS),
    ):
        if len(given) > most:
            section.fault(name, f"must be {most} at most, not {len(given)}")
        for each in given:
            if not _NETWORK.fullmatch(each):
                section.fault(name, f"must be the ids of {name.replace('_', ' ')}, not {each!r}")


def _check_tags(section: Section, tags: dict[str, str]) -> None:
    for key, value in tags.items():
        fits = 0 < len(key) <= 128 and len(value) <= 256 and _TAG.fullmatch(key + value)
        if not fits or key.lower().startswith("aws:"):
            said = "must be 128 characters at most, its value 256, of letters, digits, spaces and _.:/=+-@"
            section.fault(f"tags.{key[:40]}", f"{said}; aws: is kept for AWS")
    if len(tags) > _MOST_TAGS:
        section.fault("tags", f"must be {_MOST_TAGS} at most, not {len(tags)}")


def read_hosting(section: Section) -> Hosting | None:
    """Of an [[endpoint]]; None where its engine is local."""
    names = ("instance", "instances", "serverless_mb", "concurrency", "max_instances", "calls_per_instance")
    if not _on_sagemaker(section, section.one_of("engine", ENGINES), (*names, "alarms", "shadow")):
        return None
    default = Hosting()
    read = Hosting(
        instance=_machine(section, default.instance),
        instances=section.integer("instances", default.instances, least=1),
        serverless_mb=section.integer("serverless_mb", default.serverless_mb),
        concurrency=section.integer("concurrency", default.concurrency, least=1),
        most_instances=section.integer("max_instances", default.most_instances),
        calls_per_instance=section.integer("calls_per_instance", default.calls_per_instance, least=1),
        alarms=tuple(section.strings("alarms")),
        shadow=section.string("shadow", default.shadow),
    )
    if read.most_instances and read.most_instances < read.instances:
        section.fault("max_instances", f"must be {read.instances} or more, as instances is, not {read.most_instances}")
    _check_hosting(section, read)
    if read.serverless_mb:
        if read.serverless_mb not in SERVERLESS_MB:
            section.fault("serverless_mb", f"must be one of {', '.join(map(str, SERVERLESS_MB))}")
        # Of a serverless endpoint SageMaker refuses these, or silently does something else.
        for name in ("instance", "instances", "max_instances", "alarms", "shadow", "traffic", "capture_percent"):
            if section.has(name):
                section.fault(name, "is not possible with serverless_mb")
    return read


def _check_hosting(section: Section, read: Hosting) -> None:
    if read.concurrency > _MOST_CONCURRENCY:
        section.fault("concurrency", f"must be {_MOST_CONCURRENCY} or less, not {read.concurrency}")
    if len(read.alarms) > _MOST_ALARMS or not all(each.strip() and len(each) <= 255 for each in read.alarms):
        section.fault("alarms", f"must be {_MOST_ALARMS} names at most, each of 1 to 255 characters")
    if read.most_instances and read.instance.startswith("ml.t2."):
        section.fault("max_instances", f"is not possible with {read.instance}, which SageMaker does not scale")


def _on_sagemaker(section: Section, engine: str, names: tuple[str, ...]) -> bool:
    if engine == "sagemaker":
        return True
    for name in names:
        if section.has(name):
            section.known(name)
            section.fault(name, 'has no effect without engine = "sagemaker"')
    return False


def _machine(section: Section, default: str) -> str:
    found = section.string("instance", default)
    if not _MACHINE.fullmatch(found):
        section.fault("instance", f"must be a machine of SageMaker, such as ml.m5.large, not {found!r}")
    return found
