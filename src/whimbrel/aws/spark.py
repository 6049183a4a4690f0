"""The part of a template for ``load.engine = "spark"``: what runs the job, with limits, and the job's role.

A cluster of EMR is the user's own: there is nothing to make for it but the policy for its role.
"""

from __future__ import annotations

from typing import Any

from whimbrel.aws.forms import Resource, arn, choice, number, ref, replaceable, role, sub, text
from whimbrel.migration.spark.runner import MEGABYTES_OF_A_CORE, shape
from whimbrel.project import Project, Spark
from whimbrel.project.spark import GLUE_CORES, JOB_NAME

RELEASE = "emr-7.13.0"
IDLE_MINUTES = 5
MOST_HOURS = 24  # of one job
GLUE_VERSION = "5.0"
WORKER = "G.1X"
# EMR Serverless: of a driver that says nothing else, and the disk of any worker.
_DRIVER_CORES, _DRIVER_GB, _DISK_GB = 4, 16, 20
# The capacity is for two jobs: the next one starts while the workers of the last one stop, and would fail without room.
_JOBS = 2
SERVICES = {"emr-serverless": "emr-serverless", "glue": "glue"}


def parameters(spark: Spark) -> Resource:
    if spark.runner == "emr-serverless":
        return {
            "SparkArchitecture": choice("That of the archive", *_architectures(spark.archive)),
            "SparkRelease": text("Release of EMR, with Spark 3.5 or later", RELEASE, "emr-[a-z0-9.-]+"),
            "SparkIdleMinutes": number("Minutes without a job until it stops", IDLE_MINUTES, 1, 10080),
        }
    if spark.runner == "glue":
        return {"SparkJob": text("spark.job of the project file", spark.job, JOB_NAME)}
    return {"SparkCluster": text("spark.cluster of the project file", spark.cluster, "j-[A-Z0-9]+")}


def _architectures(archive: str) -> list[str]:
    """The one that the archive's name says is first."""
    return sorted(["X86_64", "ARM64"], key=lambda each: each.lower() not in archive)


def resources(project: Project, policies: list[Resource]) -> dict[str, Resource]:
    """``policies`` are those of the job's role."""
    spark, store = project.spark, project.store
    assert spark, "asked before"
    assert store, "the project file was refused without one"
    if spark.runner not in SERVICES:
        return {}
    made = {"SparkRole": role(SERVICES[spark.runner], policies)}
    if spark.runner == "emr-serverless":
        return {**made, "SparkApplication": replaceable("AWS::EMRServerless::Application", _application(spark))}
    script = sub(f"s3://${{BucketName}}/{store.prefix}/spark/boot.py")
    return {**made, "SparkGlueJob": replaceable("AWS::Glue::Job", _job(spark, script))}


def outputs(spark: Spark) -> Resource:
    """What the project file must have of the stack."""
    if spark.runner == "emr-serverless":
        return {"SparkApplicationId": ref("SparkApplication"), "SparkRoleArn": arn("SparkRole")}
    return {}


def _application(spark: Spark) -> Resource:
    """It starts by itself with a job, and stops without one. Nothing is kept ready, so that it costs nothing then."""
    executors, cores = shape(spark.tasks)
    gigabytes = -(-cores * MEGABYTES_OF_A_CORE // 1024)
    most: dict[str, Any] = {
        "Cpu": f"{_JOBS * (_DRIVER_CORES + executors * cores)} vCPU",
        "Memory": f"{_JOBS * (_DRIVER_GB + executors * gigabytes)} GB",
        "Disk": f"{_JOBS * _DISK_GB * (1 + executors)} GB",
    }
    return {
        "Name": sub("${AWS::StackName}-whimbrel"),
        "ReleaseLabel": ref("SparkRelease"),
        "Type": "Spark",
        "Architecture": ref("SparkArchitecture"),
        "MaximumCapacity": most,
        "AutoStartConfiguration": {"Enabled": True},
        "AutoStopConfiguration": {"Enabled": True, "IdleTimeoutMinutes": ref("SparkIdleMinutes")},
    }


def _job(spark: Spark, script: Resource) -> Resource:
    """A run says which script and how many workers."""
    return {
        "Name": ref("SparkJob"),
        "Role": arn("SparkRole"),
        "GlueVersion": GLUE_VERSION,
        "Command": {"Name": "glueetl", "PythonVersion": "3", "ScriptLocation": script},
        "WorkerType": WORKER,
        "NumberOfWorkers": spark.tasks // GLUE_CORES + 1,
        "ExecutionProperty": {"MaxConcurrentRuns": _JOBS},
        "MaxRetries": 0,
        "Timeout": MOST_HOURS * 60,
    }
