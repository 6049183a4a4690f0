"""``engine = "sagemaker"`` in the project file: what is taken, and what would be without effect or refused by AWS."""

from __future__ import annotations

from pathlib import Path

import pytest

from whimbrel.errors import ProjectError
from whimbrel.project import Project, load_project
from whimbrel.project.sagemaker import LINEAR_LEARNER

LAKE = '[lake]\nfolder = "s3://bucket/shop"\n'
SETTINGS = '[sagemaker]\nrole = "arn:aws:iam::111122223333:role/r"\nimage = "repository/whimbrel:1"\n'
THERE = LAKE + SETTINGS
HERE = '[[model]]\nname = "m"\ntarget = "y"\n'
MODEL = '[[model]]\nname = "m"\ntarget = "y"\nengine = "sagemaker"\n'
ENDPOINT = '[[endpoint]]\nname = "m"\nengine = "sagemaker"\n'


def read(folder: Path, text: str) -> Project:
    (folder / "whimbrel.toml").write_text(text)
    return load_project(folder / "whimbrel.toml")


def test_a_model_and_an_endpoint_there(tmp_path: Path) -> None:
    project = read(tmp_path, THERE + MODEL + 'learner = "linear-learner"\nspot = true\nmax_wait = 3600\n' + ENDPOINT)
    [model], [endpoint] = project.predict.models, project.predict.endpoints
    assert model.training is not None
    assert (model.learner, model.training.spot, model.training.longest_wait) == (LINEAR_LEARNER, True, 3600)
    assert endpoint.hosting is not None
    assert endpoint.hosting.instances == 1
    assert project.predict.on_sagemaker


def test_what_a_model_is_does_not_depend_on_its_machine(tmp_path: Path) -> None:
    here = read(tmp_path, HERE).predict.models[0]
    there = read(tmp_path, THERE + MODEL + 'instance = "ml.c5.xlarge"\n').predict.models[0]
    assert here.settings() == there.settings()
    by_algorithm = read(tmp_path, THERE + MODEL + 'learner = "linear-learner"\n').predict.models[0]
    assert by_algorithm.settings()["hyperparameters"] == {}


def test_a_serverless_endpoint_has_no_shifting_and_no_capture(tmp_path: Path) -> None:
    [endpoint] = read(tmp_path, THERE + ENDPOINT + "serverless_mb = 2048\n").predict.endpoints
    assert (endpoint.traffic, endpoint.capture_percent) == ("ALL_AT_ONCE", 0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (SETTINGS + MODEL, "lake.folder: must be s3://BUCKET/PREFIX: SageMaker reads and writes there"),
        (LAKE + MODEL, "sagemaker: the section is missing"),
        (LAKE + SETTINGS, "sagemaker: has no effect without a part that has engine"),
        (LAKE + SETTINGS.replace('image = "repository/whimbrel:1"\n', "") + MODEL, "sagemaker.image: is missing"),
        (LAKE + SETTINGS.replace(":1", ":latest") + MODEL, "image: is :latest, which changes under a run"),
        (LAKE + SETTINGS.replace("arn:", "") + MODEL, "sagemaker.role: must be the ARN of a role"),
        (THERE + 'subnets = ["subnet-1"]\n' + MODEL, "subnets: needs security_groups too"),
        (THERE + 'key = "alias/mine"\n' + MODEL, "key: must be the ARN of a KMS key"),
        (
            HERE + 'instance = "ml.m5.large"\n',
            'instance: has no effect without engine = "s',
        ),
        (
            HERE + 'learner = "linear-learner"\n',
            "learner: must be 'linear' or 'boosted'",
        ),
        (THERE + MODEL + 'instance = "large"\n', "instance: must be a machine of SageMaker"),
        (THERE + MODEL + "spot = true\n", "max_wait: must be 3600 or more, as max_runtime is, not 0"),
        (THERE + MODEL + "max_wait = 4000\n", "max_wait: has no effect without spot = true"),
        (
            THERE + MODEL + 'hyperparameters = { l1 = "1" }\n',
            "hyperparameters: has no effect without learner",
        ),
        (THERE + MODEL + 'learner = "linear-learner"\nrefit = true\n', "refit: is not possible with learner"),
        (THERE + ENDPOINT.replace('"m"', '"m_1"'), "name: must be letters, digits and hyphens for SageMaker"),
        (THERE + ENDPOINT + "max_instances = 2\ninstances = 3\n", "max_instances: must be 3 or more"),
        (THERE + ENDPOINT + "serverless_mb = 1000\n", "serverless_mb: must be one of 1024"),
        (
            THERE + ENDPOINT + 'serverless_mb = 1024\nalarms = ["a"]\n',
            "alarms: is not possible with serverless",
        ),
    ],
)
def test_what_would_have_no_effect_or_be_refused_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ProjectError) as refused:
        read(tmp_path, text)
    assert said in str(refused.value)
