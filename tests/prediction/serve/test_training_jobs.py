"""Training jobs by SageMaker's API, as the script of the post makes them, up to the endpoint."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.csv
import pytest
from botocore.exceptions import ClientError

pytest.importorskip("sklearn", reason="the extra 'predict' is not installed")

from tests.prediction.serve.conftest import Running, predictions, wait_for
from tests.prediction.train.tables import calls

Start = Callable[..., Running]

# The post's script from "Start training job" on, but for a condition that compares texts as numbers, the waiter, which
# looks every two minutes, and the place holders in angle brackets.
SCRIPT = """
set -e
aws sagemaker create-training-job --training-job-name ${TRAINING_JOB_NAME} --region ${REGION}  --algorithm-specification TrainingImage=${IMAGE},TrainingInputMode=File --role-arn ${ROLE}  --input-data-config '[{ "ChannelName": "train", "DataSource": { "S3DataSource": { "S3DataType": "S3Prefix", "S3Uri": "s3://my-bucket/datasource/", "S3DataDistributionType": "FullyReplicated" } }, "ContentType": "text/csv", "CompressionType": "None" , "RecordWrapperType": "None"  }]'  --output-data-config S3OutputPath=${S3OUTPUT} --resource-config  InstanceType=${INSTANCETYPE},InstanceCount=${INSTANCECOUNT},VolumeSizeInGB=${VOLUMESIZE} --stopping-condition MaxRuntimeInSeconds=120 --hyper-parameters feature_dim=4,predictor_type=binary_classifier
while [ "$(aws sagemaker describe-training-job --training-job-name ${TRAINING_JOB_NAME} --region ${REGION} --query TrainingJobStatus --output text)" = InProgress ]; do sleep 0.2; done
MODELARTIFACT=`aws sagemaker describe-training-job --training-job-name ${TRAINING_JOB_NAME} --region ${REGION}  --query 'ModelArtifacts.S3ModelArtifacts' --output text `
aws sagemaker create-model --region ${REGION} --model-name ${MODELNAME}  --primary-container Image=${IMAGE},ModelDataUrl=${MODELARTIFACT}  --execution-role-arn ${ROLE}
aws sagemaker  create-endpoint-config --region ${REGION} --endpoint-config-name ${CONFIGNAME}  --production-variants  VariantName=Users,ModelName=${MODELNAME},InitialInstanceCount=1,InstanceType=ml.m4.xlarge
STATUS=`aws sagemaker describe-endpoint --endpoint-name  ServiceEndpoint --query 'EndpointStatus' --output text --region ${REGION} || true`
if [[ $STATUS != "InService" ]] ;
then
    aws sagemaker  create-endpoint --endpoint-name  ServiceEndpoint  --endpoint-config-name ${CONFIGNAME} --region ${REGION}
else
    aws sagemaker  update-endpoint --endpoint-name  ServiceEndpoint  --endpoint-config-name ${CONFIGNAME} --region ${REGION}
fi
"""  # noqa: E501
VALUES = {
    "REGION": "us-east-1",
    "ROLE": "arn:aws:iam::000000000000:role/SageMaker-ExecutionRole",
    "IMAGE": "382416733822.dkr.ecr.us-east-1.amazonaws.com/linear-learner:latest",
    "TRAINING_JOB_NAME": "TRAIN-1",
    "S3OUTPUT": "s3://my-bucket/model/",
    "INSTANCETYPE": "ml.m4.xlarge",
    "INSTANCECOUNT": "1",
    "VOLUMESIZE": "5",
    "MODELNAME": "MODEL-1",
    "CONFIGNAME": "CONFIG-1",
}


def data(folder: Path) -> Path:
    """300 calls, the label first and without a header."""
    folder.mkdir(parents=True)
    table = calls(300).select(["y", "age", "rate", "job", "contact"])
    pyarrow.csv.write_csv(table, folder / "part-00000.csv", pyarrow.csv.WriteOptions(include_header=False))
    return folder


def begin(server: Running, name: str, place: Path, output: Path, seconds: int = 120, **hyperparameters: str) -> None:
    server.client("sagemaker").create_training_job(
        TrainingJobName=name,
        AlgorithmSpecification={"TrainingImage": VALUES["IMAGE"], "TrainingInputMode": "File"},
        RoleArn=VALUES["ROLE"],
        InputDataConfig=[
            {
                "ChannelName": "train",
                "ContentType": "text/csv",
                "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": place.as_uri()}},
            }
        ],
        OutputDataConfig={"S3OutputPath": output.as_uri()},
        ResourceConfig={"InstanceType": "ml.m4.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 5},
        StoppingCondition={"MaxRuntimeInSeconds": seconds},
        HyperParameters={"feature_dim": "4", "predictor_type": "binary_classifier"} | hyperparameters,
    )


def ended(server: Running, name: str) -> Any:
    describe = server.client("sagemaker").describe_training_job

    def now() -> Any:
        found = describe(TrainingJobName=name)
        return found if found["TrainingJobStatus"] != "InProgress" else None

    return wait_for(now, 180)  # it stands back behind everything else on the machine


def test_a_job_makes_a_model_that_an_endpoint_takes(start: Start, tmp_path: Path) -> None:
    server = start()
    place = data(tmp_path / "data")
    begin(server, "good", place, tmp_path / "models")
    begin(server, "bad", place, tmp_path / "models", learner="forest")
    found = ended(server, "good")
    assert (found["TrainingJobStatus"], found["SecondaryStatus"]) == ("Completed", "Completed")
    artifact = found["ModelArtifacts"]["S3ModelArtifacts"]
    assert artifact == (tmp_path / "models" / "good" / "output" / "model.tar.gz").as_uri()
    client = server.client("sagemaker")
    client.create_model(ModelName="m", PrimaryContainer={"ModelDataUrl": artifact})
    variant = {"VariantName": "Users", "ModelName": "m"}
    client.create_endpoint_config(EndpointConfigName="c", ProductionVariants=[variant])
    client.create_endpoint(EndpointName="ServiceEndpoint", EndpointConfigName="c")
    wait_for(lambda: client.describe_endpoint(EndpointName="ServiceEndpoint")["EndpointStatus"] == "InService")
    assert predictions(server.invoke("70,-2.5,student,true"))[0]["predicted_label"] == 1

    found = ended(server, "bad")
    assert found["TrainingJobStatus"] == "Failed"
    assert "learner: must be 'linear' or 'boosted', not 'forest'" in found["FailureReason"]
    server.kill()
    server.start()
    listed = server.client("sagemaker").list_training_jobs()["TrainingJobSummaries"]
    assert {each["TrainingJobName"]: each["TrainingJobStatus"] for each in listed} == {
        "good": "Completed",
        "bad": "Failed",
    }


@pytest.mark.slow
def test_a_job_tells_again_what_sdks_read_and_keeps_its_model_where_it_was_told(start: Start, tmp_path: Path) -> None:
    server = start("--host", "127.0.0.1")
    given: dict[str, Any] = {
        "AlgorithmSpecification": {"TrainingImage": VALUES["IMAGE"], "TrainingInputMode": "File"},
        "RoleArn": VALUES["ROLE"],
        "OutputDataConfig": {"S3OutputPath": "s3://somewhere/models/"},
        "ResourceConfig": {"InstanceType": "ml.m4.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 5},
        "StoppingCondition": {"MaxRuntimeInSeconds": 120},
    }
    source = {"S3DataType": "S3Prefix", "S3Uri": data(tmp_path / "data").as_uri()}
    client = server.client("sagemaker")
    created = client.create_training_job(
        **given,
        TrainingJobName="told",
        InputDataConfig=[{"ChannelName": "train", "ContentType": "text/csv", "DataSource": {"S3DataSource": source}}],
        HyperParameters={"predictor_type": "binary_classifier"},
        Tags=[{"Key": "team", "Value": "birds"}],
    )
    found = ended(server, "told")
    given["OutputDataConfig"]["KmsKeyId"] = ""  # SageMaker always has it, and its SDK's attach() reads it
    assert {key: found[key] for key in given} == given
    assert found["TrainingTimeInSeconds"] >= 1
    check_logs(server)
    assert client.list_tags(ResourceArn=created["TrainingJobArn"])["Tags"] == [{"Key": "team", "Value": "birds"}]
    artifact = found["ModelArtifacts"]["S3ModelArtifacts"]
    assert artifact == "s3://somewhere/models/told/output/model.tar.gz"
    [path] = tmp_path.rglob("model.tar.gz")
    assert path.parts[-6:] == ("s3", "somewhere", "models", "told", "output", "model.tar.gz")
    client.create_model(ModelName="m", PrimaryContainer={"ModelDataUrl": artifact})


def check_logs(server: Running) -> None:
    """What the job "told" printed, by the calls with which SageMaker's SDK follows a log (fit, attach and logs)."""
    client, group = server.client("logs"), "/aws/sagemaker/TrainingJobs"
    [stream] = client.describe_log_streams(
        logGroupName=group, logStreamNamePrefix="told/", orderBy="LogStreamName", limit=1
    )["logStreams"]
    asked = {"logGroupName": group, "logStreamName": stream["logStreamName"], "startFromHead": True}
    found = client.get_log_events(**asked, startTime=0)
    lines = [each["message"] for each in found["events"]]
    assert any("#quality_metric: holdout auc=" in line for line in lines)
    assert client.get_log_events(**asked, nextToken=found["nextForwardToken"])["events"] == []
    first = client.get_log_events(**asked, limit=1)
    rest = client.get_log_events(**asked, nextToken=first["nextForwardToken"])
    assert [each["message"] for each in (*first["events"], *rest["events"])] == lines
    times = [each["timestamp"] for each in found["events"]]
    assert times == sorted(times)
    assert len(client.get_log_events(**asked, startTime=times[-1])["events"]) == times.count(times[-1])
    with pytest.raises(client.exceptions.ResourceNotFoundException, match="no log stream 'other/algo-1'"):
        client.get_log_events(logGroupName=group, logStreamName="other/algo-1")
    with pytest.raises(client.exceptions.ResourceNotFoundException, match="no log group"):
        client.describe_log_streams(logGroupName="/aws/lambda/f")
    with pytest.raises(ClientError, match="'FilterLogEvents' of CloudWatch Logs is not known here"):
        client.filter_log_events(logGroupName=group)


def test_jobs_that_cannot_be_or_are_cut_off_are_named(start: Start, tmp_path: Path) -> None:
    server, place = start(), data(tmp_path / "data")
    with pytest.raises(ClientError, match="there is no folder"):
        begin(server, "nowhere", tmp_path / "nowhere", tmp_path)
    begin(server, "stopped", place, tmp_path)
    with pytest.raises(ClientError, match="already exists"):
        begin(server, "stopped", place, tmp_path)
    server.client("sagemaker").stop_training_job(TrainingJobName="stopped")
    assert ended(server, "stopped")["TrainingJobStatus"] == "Stopped"
    begin(server, "cut-off", place, tmp_path)
    server.kill()
    server.start()
    found = ended(server, "cut-off")
    assert (found["TrainingJobStatus"], found["FailureReason"]) == ("Failed", "the server ended during the job")
    assert not list(tmp_path.rglob("model.tar.gz"))


@pytest.mark.slow
def test_the_script_of_the_post_from_its_training_job_to_its_endpoint(start: Start, tmp_path: Path) -> None:
    data(tmp_path / "lake" / "csv" / "datasource")
    server = start("--host", "127.0.0.1")
    environment = os.environ | VALUES | {"AWS_ENDPOINT_URL": server.url}
    describe = server.client("sagemaker").describe_endpoint

    def answering() -> Any:
        found = describe(EndpointName="ServiceEndpoint")
        return found["EndpointConfigName"] if found["EndpointStatus"] == "InService" else None

    for number in (1, 2):  # made, then updated
        names = {each: f"{VALUES[each][:-2]}-{number}" for each in ("TRAINING_JOB_NAME", "MODELNAME", "CONFIGNAME")}
        done = subprocess.run(["bash", "-c", SCRIPT], env=environment | names, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        wait_for(lambda wanted=names["CONFIGNAME"]: answering() == wanted)  # type: ignore[misc]
    answer = server.invoke("70,-2.5,student,true")
    assert (answer["InvokedProductionVariant"], predictions(answer)[0]["predicted_label"]) == ("Users", 1)
