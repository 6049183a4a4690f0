"""The runners on AWS, against botocore's own model of each service: it checks every request and every answer. What the
services themselves do with them was not seen.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import ANY, Stubber

from tests.migration.loading import START, TABLE
from whimbrel.errors import (
    PrivilegeError,
    RequestRefused,
    TargetUnreachable,
    Throttled,
    UnexpectedAnswer,
    UserError,
)
from whimbrel.mapping.provenance import of_snapshot
from whimbrel.migration.spark import submitted
from whimbrel.migration.spark.driver import refuse_settings, slots
from whimbrel.migration.spark.emr import EmrRunner
from whimbrel.migration.spark.emr_serverless import EmrServerlessRunner
from whimbrel.migration.spark.glue import GlueRunner
from whimbrel.migration.spark.job import SparkJob
from whimbrel.migration.spark.places import Where
from whimbrel.migration.spark.runner import JobState, Runner, Submission, memory, shape
from whimbrel.project import NO_SOURCE, Project, Spark, Target

ARN = "arn:aws:emr-serverless:eu-west-1:111122223333:/applications/00f1/jobruns/00j"
ARCHIVE = "s3://bucket/whimbrel-spark-x86_64.zip"
JOB = "s3://bucket/shop/spark/whimbrel-0a"
ARGUMENTS = ["--whimbrel-job", JOB, "--whimbrel-region", "eu-west-1"]
CONF = {
    "spark.speculation": "false",
    "spark.dynamicAllocation.enabled": "false",
    "spark.executor.instances": "2",
    "spark.executor.cores": "4",
}
SERVERLESS = Spark("emr-serverless", 8, application="00f1", role="arn:aws:iam::111122223333:role/load", archive=ARCHIVE)
GLUE = Spark("glue", 8, job="load", archive=ARCHIVE)
EMR = Spark("emr", 8, cluster="j-2AXXXXXXGAPLF", archive=ARCHIVE)
Made = Callable[[Spark], tuple[Any, Stubber]]


def submission(spark: Spark) -> Submission:
    return Submission(Where(JOB, region="eu-west-1", profile="mine"), spark, Path("state"))


@pytest.fixture
def make() -> Iterator[Made]:
    with ExitStack() as stack:

        def make(spark: Spark) -> tuple[Runner, Stubber]:
            kinds = {"emr-serverless": EmrServerlessRunner, "glue": GlueRunner, "emr": EmrRunner}
            client: Any = boto3.client(spark.runner, region_name="eu-west-1")  # type: ignore[call-overload]
            stub = stack.enter_context(Stubber(client))
            runner: Any = kinds[spark.runner](submission(spark), client)
            stack.callback(runner.close)
            return runner, stub

        yield make


def test_emr_serverless_starts_the_job_by_its_own_name(make: Made) -> None:
    runner, stub = make(SERVERLESS)
    expected = {
        "applicationId": "00f1",
        "clientToken": "whimbrel-0a",
        "name": "whimbrel-0a",
        "executionRoleArn": SERVERLESS.role,
        "jobDriver": {
            "sparkSubmit": {
                "entryPoint": f"{JOB}/boot.py",
                "entryPointArguments": ARGUMENTS,
                "sparkSubmitParameters": ANY,
            }
        },
    }
    sent: list[dict[str, Any]] = []
    runner._client.meta.events.register("before-parameter-build", lambda params, **_: sent.append(params))
    stub.add_response("start_job_run", {"applicationId": "00f1", "jobRunId": "00j", "arn": ARN}, expected)
    assert runner.submit() == "00j"
    words = shlex.split(sent[0]["jobDriver"]["sparkSubmit"]["sparkSubmitParameters"])
    assert words[-2:] == ["--py-files", ARCHIVE]
    conf = dict(each.split("=") for each in words[1:-2:2])
    assert words[:-2:2] == ["--conf"] * len(conf)
    assert conf.items() >= (CONF | memory(SERVERLESS)).items()
    assert conf["spark.executorEnv.PYSPARK_PYTHON"] == "python3.11"
    assert slots(conf) == 8
    stub.assert_no_pending_responses()


def test_glue_runs_our_file_for_its_script(make: Made) -> None:
    runner, stub = make(GLUE)
    conf = " --conf ".join(f"{name}={value}" for name, value in CONF.items())
    expected = {
        "JobName": "load",
        "WorkerType": "G.1X",
        "NumberOfWorkers": 3,
        "Arguments": {
            "--scriptLocation": f"{JOB}/boot.py",
            "--extra-py-files": ARCHIVE,
            "--conf": conf,
            "--whimbrel-job": JOB,
            "--whimbrel-region": "eu-west-1",
        },
    }
    stub.add_response("start_job_run", {"JobRunId": "jr_1"}, expected)
    assert runner.submit() == "jr_1"
    stub.assert_no_pending_responses()


def test_emr_runs_a_step_and_keeps_the_cluster(make: Made) -> None:
    runner, stub = make(EMR)
    python = {f"spark.{name}.PYSPARK_PYTHON": "python3.11" for name in ("yarn.appMasterEnv", "executorEnv")}
    conf = [part for name, value in (CONF | python).items() for part in ("--conf", f"{name}={value}")]
    words = ["spark-submit", "--deploy-mode", "cluster", "--name", "whimbrel-0a", *conf, "--py-files", ARCHIVE]
    step = {
        "Name": "whimbrel-0a",
        "ActionOnFailure": "CONTINUE",
        "HadoopJarStep": {"Jar": "command-runner.jar", "Args": [*words, f"{JOB}/boot.py", *ARGUMENTS]},
    }
    stub.add_response("add_job_flow_steps", {"StepIds": ["s-1"]}, {"JobFlowId": EMR.cluster, "Steps": [step]})
    assert runner.submit() == "s-1"
    stub.assert_no_pending_responses()


def serverless_state(word: str, why: str) -> dict[str, Any]:
    run = {
        "applicationId": "00f1", "jobRunId": "00j", "arn": ARN, "createdBy": SERVERLESS.role, "createdAt": 0,
        "updatedAt": 0,
        "executionRole": SERVERLESS.role, "state": word, "stateDetails": why or "-", "releaseLabel": "emr-7.13.0",
        "jobDriver": {"sparkSubmit": {"entryPoint": f"{JOB}/boot.py"}},
    }  # fmt: skip
    return {"jobRun": run}


def glue_state(word: str, why: str) -> dict[str, Any]:
    return {"JobRun": {"Id": "jr_1", "JobName": "load", "JobRunState": word, **({"ErrorMessage": why} if why else {})}}


def emr_state(word: str, why: str) -> dict[str, Any]:
    details = {"FailureDetails": {"Reason": "x", "Message": why}} if why else {}
    return {"Step": {"Id": "s-1", "Status": {"State": word, "StateChangeReason": {}, **details}}}


OF_00J = {"applicationId": "00f1", "jobRunId": "00j"}
# By runner: what is asked and how it is answered.
ASKED: dict[str, tuple[Spark, str, str, dict[str, Any], Callable[[str, str], dict[str, Any]]]] = {
    "emr-serverless": (
        SERVERLESS,
        "00j",
        "get_job_run",
        {"applicationId": "00f1", "jobRunId": "00j"},
        serverless_state,
    ),
    "glue": (GLUE, "jr_1", "get_job_run", {"JobName": "load", "RunId": "jr_1"}, glue_state),
    "emr": (EMR, "s-1", "describe_step", {"ClusterId": EMR.cluster, "StepId": "s-1"}, emr_state),
}
STATES = [
    ("emr-serverless", "PENDING", "", JobState(True, "PENDING")),
    ("emr-serverless", "RUNNING", "", JobState(True, "RUNNING")),
    ("emr-serverless", "CANCELLING", "", JobState(True, "CANCELLING")),
    ("emr-serverless", "SUCCESS", "", JobState(False, "SUCCESS")),
    ("emr-serverless", "FAILED", "Exit 1", JobState(False, "FAILED", "it failed: Exit 1")),
    ("emr-serverless", "CANCELLED", "", JobState(False, "CANCELLED", "it was cancelled: -")),
    ("glue", "STARTING", "", JobState(True, "STARTING")),
    ("glue", "RUNNING", "", JobState(True, "RUNNING")),
    ("glue", "SUCCEEDED", "", JobState(False, "SUCCEEDED")),
    ("glue", "FAILED", "ImportError", JobState(False, "FAILED", "FAILED: ImportError")),
    ("glue", "TIMEOUT", "", JobState(False, "TIMEOUT", "TIMEOUT")),
    ("glue", "STOPPED", "", JobState(False, "STOPPED", "STOPPED")),
    ("emr", "PENDING", "", JobState(True, "PENDING")),
    ("emr", "COMPLETED", "", JobState(False, "COMPLETED")),
    ("emr", "FAILED", "exit 1", JobState(False, "FAILED", "FAILED: exit 1")),
    ("emr", "CANCELLED", "", JobState(False, "CANCELLED", "CANCELLED")),
    ("emr", "INTERRUPTED", "", JobState(False, "INTERRUPTED", "INTERRUPTED")),
]


@pytest.mark.parametrize(("name", "word", "why", "expected"), STATES)
def test_how_a_job_is(make: Made, name: str, word: str, why: str, expected: JobState) -> None:
    spark, job, call, request, answer = ASKED[name]
    runner, stub = make(spark)
    stub.add_response(call, answer(word, why), request)
    assert runner.state(job) == expected
    assert job in runner.where(job)


@pytest.mark.parametrize("name", ASKED)
def test_an_answer_without_a_state_is_none(make: Made, name: str) -> None:
    spark, job, call, _, answer = ASKED[name]
    runner, _ = make(spark)
    empty = answer("RUNNING", "")
    next(iter(empty.values())).pop(
        "state" if name == "emr-serverless" else "JobRunState" if name == "glue" else "Status"
    )
    setattr(runner._client, call, lambda **_: empty)
    with pytest.raises(UnexpectedAnswer, match="the answer has no"):
        runner.state(job)


@pytest.mark.parametrize("name", ASKED)
@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("ThrottlingException", 429, Throttled),
        ("InternalServerException", 500, TargetUnreachable),
        ("AccessDeniedException", 403, PrivilegeError),
        ("ValidationException", 400, RequestRefused),
    ],
)
def test_what_a_service_refuses_is_one_of_our_errors(
    make: Made, name: str, code: str, status: int, kind: type[Exception]
) -> None:
    spark, job, call, request, _ = ASKED[name]
    runner, stub = make(spark)
    stub.add_client_error(call, code, "no", status, expected_params=request)
    with pytest.raises(kind):
        runner.state(job)


def test_a_job_is_cancelled(make: Made) -> None:
    serverless, stub = make(SERVERLESS)
    stub.add_response("cancel_job_run", {"applicationId": "00f1", "jobRunId": "00j"}, ASKED["emr-serverless"][3])
    serverless.cancel("00j")
    stub.assert_no_pending_responses()
    glue, stub = make(GLUE)
    stub.add_response("batch_stop_job_run", {}, {"JobName": "load", "JobRunIds": ["jr_1"]})
    glue.cancel("jr_1")
    stub.assert_no_pending_responses()
    emr, stub = make(EMR)
    cancelled = {"ClusterId": EMR.cluster, "StepIds": ["s-1"], "StepCancellationOption": "TERMINATE_PROCESS"}
    stub.add_response("cancel_steps", {}, cancelled)
    emr.cancel("s-1")
    stub.assert_no_pending_responses()


def test_each_runner_is_made_of_what_the_project_says(tmp_path: Path) -> None:
    kinds: dict[str, Any] = {"emr-serverless": EmrServerlessRunner, "glue": GlueRunner, "emr": EmrRunner}
    for spark in (SERVERLESS, GLUE, EMR):
        at = replace(spark, endpoint="http://127.0.0.1:9")
        project = Project(tmp_path, tmp_path, NO_SOURCE, Target(region="eu-west-1"), (), spark=at)
        runner: Any = submitted.runner_of(project, submission(at))
        assert isinstance(runner, kinds[spark.runner])
        assert (runner._client.meta.endpoint_url, runner._client.meta.region_name) == (at.endpoint, "eu-west-1")
        runner.close()


SHAPES = [(1, (1, 1)), (2, (1, 2)), (3, (3, 1)), (6, (3, 2)), (8, (2, 4)), (7, (7, 1))]


@pytest.mark.parametrize(("tasks", "expected"), SHAPES)
def test_executors_for_exactly_so_many_tasks(tasks: int, expected: tuple[int, int]) -> None:
    assert shape(tasks) == expected
    assert expected[0] * expected[1] == tasks


@pytest.mark.parametrize(("tasks", "expected"), SHAPES)
def test_an_executor_is_one_that_emr_serverless_has(tasks: int, expected: tuple[int, int]) -> None:
    """By its cores, an executor has between so many gigabytes; of 3 cores there is none."""
    least, most = {1: (2, 8), 2: (4, 16), 4: (8, 30)}[expected[1]]
    asked = memory(replace(SERVERLESS, tasks=tasks))
    megabytes = sum(int(each.removesuffix("m")) for each in asked.values())
    assert least * 1024 <= megabytes <= most * 1024


# what the cluster must be


UNCAPPED = {"spark.executor.instances": "3", "spark.executor.cores": "4"}


def job_of(cap: float) -> SparkJob:
    provenance, target = of_snapshot(START, 0.0), Target(max_write_units=cap)
    return SparkJob("", "shop.things", TABLE, "", (), (), 0, provenance, target, 8)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"spark.master": "local[2,4]"}, 2),
        ({"spark.master": "local[3]"}, 3),
        ({"spark.master": "local-cluster[2,3,1024]"}, 6),
        (UNCAPPED, 12),
        ({**UNCAPPED, "spark.task.cpus": "2"}, 6),
        ({**UNCAPPED, "spark.dynamicAllocation.enabled": "true"}, None),
        ({**UNCAPPED, "spark.dynamicAllocation.enabled": "true", "spark.dynamicAllocation.maxExecutors": "2"}, 8),
        ({"spark.master": "yarn"}, None),
        ({"spark.master": "local[*]"}, None),
    ],
)
def test_how_many_tasks_may_run_at_once(settings: dict[str, str], expected: int | None) -> None:
    assert slots(settings) == expected


def test_a_cluster_that_would_not_keep_the_cap_is_refused() -> None:
    refuse_settings(UNCAPPED, job_of(0.0))
    refuse_settings({**UNCAPPED, "spark.executor.cores": "2"}, job_of(80.0))
    assert job_of(80.0).share().max_write_units == 10.0
    with pytest.raises(UserError, match="shared by 8 tasks, and 12 may run at once"):
        refuse_settings(UNCAPPED, job_of(80.0))
    with pytest.raises(UserError, match="an unknown number may run at once"):
        refuse_settings({}, job_of(80.0))
    with pytest.raises(UserError, match="speculation is on"):
        refuse_settings({"spark.speculation": "TRUE"}, job_of(0.0))
