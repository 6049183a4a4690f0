"""`whimbrel train` with engine = "sagemaker": what the job is asked for, what comes back, and that it is one job."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv
import pytest

from tests.prediction.aws.conftest import Project
from tests.prediction.serve.conftest import wait_for
from whimbrel.prediction.aws import training_job
from whimbrel.prediction.aws.client import Client
from whimbrel.prediction.model.artifact import packed
from whimbrel.prediction.model.model import load_model
from whimbrel.prediction.train.train import scored
from whimbrel.project import load_project

ALGORITHM = 'learner = "linear-learner"\n'


def test_our_container_learns_there_and_the_model_comes_back_with_its_data_set(project: Project) -> None:
    settings = 'exclude = ["contact"]\nthreshold = { criterion = "accuracy" }\npositive = "yes"\nholdout = 0.25\n'
    project.write(model=settings + 'spot = true\nmax_wait = 7200\ninstance = "ml.c5.xlarge"\n')
    made = project.run("train", "--data", str(project.rows()))
    [asked] = project.jobs()
    assert asked["ResourceConfig"] == {"InstanceType": "ml.c5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30}
    assert asked["StoppingCondition"] == {"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 7200}
    assert asked["EnableManagedSpotTraining"] is True
    assert {"Key": "team", "Value": "calls"} in asked["Tags"]
    model = load_model(Path(made["file"]))
    assert model.name == project.name
    assert model.manifest.startswith("rows-300.csv sha256:")
    [rule] = load_project(project.folder / "whimbrel.toml").predict.models
    assert model.facts["settings"] == json.loads(json.dumps(rule.settings()))
    assert "<html" in Path(made["file"]).with_name("report.html").read_text()
    assert "contact" not in model.columns
    log = next((project.folder / ".whimbrel" / "models" / project.name / "jobs").glob("*.log")).read_text()
    assert "#quality_metric: holdout auc" in log


@pytest.mark.slow
@pytest.mark.parametrize("key", [True, False])
def test_volumes_artifacts_and_network_are_as_the_project_says(project: Project, key: bool) -> None:
    arn = "arn:aws:kms:us-east-1:111122223333:key/1234"
    network = 'subnets = ["subnet-1234"]\nsecurity_groups = ["sg-1234"]\n'
    project.write(model=ALGORITHM, sagemaker_more=(f'key = "{arn}"\n' if key else "") + network)
    project.run("train", "--data", str(project.rows()))
    [asked] = project.jobs()
    assert asked["ResourceConfig"].get("VolumeKmsKeyId") == (arn if key else None)
    assert asked["OutputDataConfig"].get("KmsKeyId") == (arn if key else None)
    assert asked["VpcConfig"] == {"Subnets": ["subnet-1234"], "SecurityGroupIds": ["sg-1234"]}


def test_linear_learner_has_the_label_first_and_our_columns(project: Project) -> None:
    project.write(model=ALGORITHM + 'hyperparameters = { l1 = "0.001" }\n')
    rows = project.rows()
    made = project.run("train", "--data", str(rows))
    [asked] = project.jobs()
    assert asked["AlgorithmSpecification"]["TrainingImage"].endswith("/linear-learner:1")
    told = asked["HyperParameters"]
    assert (told["predictor_type"], told["loss"], told["normalize_data"]) == ("binary_classifier", "logistic", "false")
    assert told["l1"] == "0.001"
    base = asked["TrainingJobName"].rpartition("-")[0]
    channels = {each["ChannelName"]: each for each in asked["InputDataConfig"]}
    assert list(channels) == ["train", "validation"]
    model = load_model(Path(made["file"]))
    width = sum(each.places + (each.type == "number") for each in model.inputs)
    for name, count in (("train", 160), ("validation", 80)):
        text = project.bucket.get(f"lake/training/{base}/{name}-csv/part.csv").decode()
        lines = [line.split(",") for line in text.splitlines()]
        assert len(lines) == count
        assert {len(line) for line in lines} == {width + 1}
        assert {line[0] for line in lines} == {"0", "1"}
    assert model.learner == "linear"
    assert model.facts["settings"]["learner"] == "linear-learner"
    assert made["metrics"]["values"]["auc"] > 0.7
    # What serves it gives what the algorithm's own weights give, of rows as people send them.
    scores, _ = scored(model, pyarrow.csv.read_csv(rows))
    assert np.std(scores) > 0.05


@pytest.mark.parametrize(("target", "kind"), [("rate", "regression"), ("job", "multiclass")])
def test_linear_learner_of_other_kinds(project: Project, target: str, kind: str) -> None:
    project.write(model=ALGORITHM)
    text = (project.folder / "whimbrel.toml").read_text()
    (project.folder / "whimbrel.toml").write_text(text.replace('target = "y"', f'target = "{target}"'))
    made = project.run("train", "--data", str(project.rows(400)))
    assert made["kind"] == kind


def test_a_job_is_found_again_after_a_kill(project: Project) -> None:
    project.sagemaker.change(job_seconds=5.0)
    rows = project.rows()
    process = project.beside("train", "--data", str(rows))
    wait_for(lambda: "InProgress" in project.listed().values(), 120)
    process.kill()
    said = project.run("status")["running"]
    assert [(each["kind"], each["model"]) for each in said] == [("job", project.name)]
    other = project.machine("other")
    (other.folder / rows.name).write_bytes(rows.read_bytes())
    made = other.run("train", "--data", str(other.folder / rows.name))
    assert made["metrics"]["rows"] == 60
    assert len(project.jobs()) == 1
    assert project.run("status")["running"] == []


@pytest.mark.slow
def test_a_job_whose_model_was_removed_is_not_waited_for(project: Project) -> None:
    """The bucket of the template removes old artifacts."""
    rows = str(project.rows())
    first = project.run("train", "--data", rows)
    [job] = project.listed()
    assert project.run("train", "--data", rows)["version"] == first["version"]
    assert list(project.listed()) == [job]
    project.bucket.s3.delete_object(Bucket=project.bucket.name, Key=f"lake/training/{job}/output/model.tar.gz")
    assert project.run("train", "--data", rows)["model"] == project.name
    assert sorted(project.listed().values()) == ["Completed", "Completed"]


@pytest.mark.slow
def test_an_artifact_of_another_form_says_how_the_job_is_repeated(project: Project) -> None:
    """The job is not: its model is there."""
    project.write(model=ALGORITHM)
    rows = str(project.rows())
    project.run("train", "--data", rows)
    [job] = project.listed()
    key = f"lake/training/{job}/output/model.tar.gz"
    for data in (b"garbage", packed("../another", b"x")):
        project.bucket.put(key, data)
        said = project.run("train", "--data", rows, code=3)
        assert (said["error"], "Remove this object" in said["hint"]) == ("ModelDamaged", True)
    project.bucket.s3.delete_object(Bucket=project.bucket.name, Key=key)
    project.run("train", "--data", rows)
    assert sorted(project.listed()) == [job, f"{job.removesuffix('1')}2"]


def test_of_two_who_ask_at_once_one_pays(project: Project) -> None:
    project.sagemaker.change(job_seconds=0.5, lag=30.0)  # neither sees the other's in the list
    rows = str(project.rows())
    both = [project.beside("train", "--data", rows), project.machine("other").beside("train", "--data", rows)]
    assert [each.end()[0] for each in both] == [0, 0]
    project.sagemaker.change(lag=0.0)
    assert list(project.listed().values()) == ["Completed"]


@pytest.mark.slow
def test_throttling_and_lost_answers_make_no_second_job(project: Project) -> None:
    project.sagemaker.change(
        throttle={"DescribeTrainingJob": 7, "CreateTrainingJob": 5, "ListTrainingJobs": 4},
        lost={"CreateTrainingJob": 6},
    )
    project.run("train", "--data", str(project.rows()))
    assert list(project.listed().values()) == ["Completed"]


def test_a_job_that_fails_says_why_and_the_next_attempt_is_another_job(project: Project) -> None:
    project.write(model=ALGORITHM + 'hyperparameters = { nonsense = "1" }\n')
    said = project.run("train", "--data", str(project.rows()), code=2)
    assert said["error"] == "TrainingError"
    assert "Additional hyperparameters are not allowed ('nonsense' was unexpected)" in said["message"]
    project.run("train", "--data", str(project.rows()), code=2)
    assert [name.rpartition("-")[2] for name in sorted(project.listed())] == ["1", "2"]


@pytest.mark.slow
def test_a_job_that_aws_ended_is_no_fault_of_the_data(project: Project) -> None:
    project.sagemaker.change(fail_jobs="InternalServerError: We encountered an internal error. Please try again.")
    said = project.run("train", "--data", str(project.rows()), code=3)
    assert said["error"] == "WorkerLost"
    project.sagemaker.change(fail_jobs="")
    project.run("train", "--data", str(project.rows()))
    assert sorted(project.listed().values()) == ["Completed", "Failed"]


@pytest.mark.parametrize(
    ("secondary", "error", "hint"),
    [("MaxRuntimeExceeded", "TrainingError", "max_runtime"), ("MaxWaitTimeExceeded", "WorkerLost", "Its log is")],
)
def test_a_job_that_took_too_long_is_not_tried_again_as_it_is(
    project: Project, monkeypatch: pytest.MonkeyPatch, secondary: str, error: str, hint: str
) -> None:
    """One that waited too long for its machine may have more luck."""
    project.write(model=ALGORITHM)
    real = training_job.describe

    def described(client: Client, name: str) -> dict[str, Any]:
        return real(client, name) | {"TrainingJobStatus": "Stopped", "SecondaryStatus": secondary}

    monkeypatch.setattr(training_job, "describe", described)
    said = project.run("train", "--data", str(project.rows()), code=2 if error == "TrainingError" else 3)
    assert (said["error"], hint in said["hint"]) == (error, True)


def test_what_may_not_be_asked_is_named(project: Project) -> None:
    project.sagemaker.change(refuse={"CreateTrainingJob": "AccessDeniedException"})
    said = project.run("train", "--data", str(project.rows()), code=2)
    assert said["error"] == "PrivilegeError"
    project.sagemaker.change(refuse={"CreateTrainingJob": "ResourceLimitExceeded"})
    said = project.run("train", "--data", str(project.rows()), code=3)
    assert "Service Quotas" in said["hint"]
    assert project.listed() == {}


def test_a_running_job_is_ended_by_abort(project: Project) -> None:
    project.sagemaker.change(job_seconds=60.0)
    rows = str(project.rows())
    process = project.beside("train", "--data", rows)
    wait_for(project.listed, 120)
    said = project.machine("other").run("renew", "--abort")
    assert list(said["jobs"].values()) == ["Stopped"]
    assert process.end()[0] == 3
    assert list(project.listed().values()) == ["Stopped"]
