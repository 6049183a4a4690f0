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
        (
            THERE + MODEL + 'learner = "linear-learner"\nspot = true\nmax_wait = 7200\n',
            "max_wait: is 3600 at most for linear-learner, which makes no checkpoints, not 7200",
        ),
        (
            THERE + MODEL + 'learner = "linear-learner"\nhyperparameters = { loss = "hinge_loss" }\n',
            "hyperparameters.loss: is whimbrel's own",
        ),
        (
            THERE + MODEL + f'learner = "linear-learner"\nhyperparameters = {{ l1 = "{"1" * 2501}" }}\n',
            "hyperparameters.l1: must be one line of 2,500 characters at most",
        ),
        (
            THERE + MODEL + f"exclude = {[f'attribute_{number}' for number in range(200)]}\n",
            "model m: exclude: is longer than the 2,500 characters",
        ),
        (THERE + ENDPOINT + "wait = 3601\n", "wait: must be 3600 or less, not 3601"),
        (THERE + ENDPOINT + "bake = 4000\n", "bake: must be 3600 or less, not 4000"),
        (THERE + ENDPOINT + f"alarms = {[f'a{n}' for n in range(11)]}\n", "alarms: must be 10 names at most"),
        (THERE + ENDPOINT + 'alarms = [" "]\n', "alarms: must be 10 names at most, each of 1 to 255"),
        (THERE + ENDPOINT + "serverless_mb = 1024\nconcurrency = 201\n", "concurrency: must be 200 or less"),
        (
            THERE + ENDPOINT + 'instance = "ml.t2.medium"\nmax_instances = 2\n',
            "max_instances: is not possible with ml.t2.medium",
        ),
        (
            THERE + 'subnets = ["subnet-1"]\nsecurity_groups = ["sg-1"]\n' + ENDPOINT + "serverless_mb = 1024\n",
            "endpoint m: serverless_mb: is not possible with sagemaker.subnets",
        ),
        (
            THERE + f"subnets = {[f'subnet-{n}' for n in range(17)]}\nsecurity_groups = ['sg-1']\n" + MODEL,
            "subnets: must be 16 at most, not 17",
        ),
        (THERE + 'subnets = ["a b"]\nsecurity_groups = ["sg-1"]\n' + MODEL, "subnets: must be the ids of subnets"),
        (THERE + 'tags = { "aws:a" = "1" }\n' + MODEL, "tags.aws:a: must be 128 characters at most"),
        (THERE + 'tags = { a = "1;2" }\n' + MODEL, "tags.a: must be 128 characters at most"),
        *(
            (THERE + MODEL.replace('"m"', f'"{name}"'), "name: must be 200 printable bytes at most, without '/'")
            for name in ("a/b", "..", "n" * 201, "two\\nlines")
        ),
        (HERE + '[[endpoint]]\nname = "../e"\nmodel = "m"\n', "name: must be 200 printable bytes at most"),
        (LAKE.replace("shop", "s" * 401) + SETTINGS + MODEL, "the prefix of up to 400 letters"),
    ],
)
def test_what_would_have_no_effect_or_be_refused_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ProjectError) as refused:
        read(tmp_path, text)
    assert said in str(refused.value)
