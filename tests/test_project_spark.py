"""``[spark]`` as it is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from whimbrel.errors import ProjectError
from whimbrel.project import Spark, load_project

ROLE = "arn:aws:iam::111122223333:role/x"
BY_SPARK = '[load]\nengine = "spark"\n'
IN_S3 = '[snapshot]\nstore = "s3://bucket/shop"\n'
ARCHIVE = 'archive = "s3://bucket/whimbrel-spark-x86_64.zip"\n'


def read(tmp_path: Path, text: str) -> Spark | None:
    file = tmp_path / "whimbrel.toml"
    file.write_text(text)
    return load_project(file).spark


def test_nobody_needs_to_say_anything_of_it(tmp_path: Path) -> None:
    assert read(tmp_path, "") is None
    assert read(tmp_path, BY_SPARK) == Spark()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('runner = "glue"\ntasks = 8\njob = "load"\n', Spark("glue", 8, job="load")),
        (
            'runner = "emr"\ncluster = "j-1"\npython = "python3.12"\n',
            Spark("emr", cluster="j-1", python="python3.12"),
        ),
        (
            f'runner = "emr-serverless"\napplication = "00f"\nrole = "{ROLE}"\nleast_rows = 5\n',
            Spark("emr-serverless", least_rows=5, application="00f", role=ROLE),
        ),
    ],
)
def test_each_runner_on_aws(tmp_path: Path, text: str, expected: Spark) -> None:
    found = read(tmp_path, f"{BY_SPARK}{IN_S3}[spark]\n{text}{ARCHIVE}")
    assert found is not None
    assert found.archive == "s3://bucket/whimbrel-spark-x86_64.zip"
    assert {name: getattr(found, name) for name in Spark.__slots__ if name != "archive"} == {
        name: getattr(expected, name) for name in Spark.__slots__ if name != "archive"
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[spark]\ntasks = 4\n", 'spark.tasks: has no effect without load.engine = "spark"'),
        (f'{BY_SPARK}[spark]\nrunner = "dataproc"\n', "spark.runner: must be 'local' or 'emr-serverless'"),
        (f"{BY_SPARK}[spark]\ntasks = 0\n", "spark.tasks: must be 1 or more"),
        (f'{BY_SPARK}{IN_S3}[spark]\nrunner = "glue"\ntasks = 4\njob = "a*"\n{ARCHIVE}', "the name of a job of Glue"),
        (
            f'{BY_SPARK}{IN_S3}[spark]\nrunner = "emr"\ncluster = "one"\n{ARCHIVE}',
            "a cluster of EMR, not 'one'",
        ),
        (f'{BY_SPARK}[spark]\nrole = "r"\n', 'spark.role: has no effect with runner = "local"'),
        (f'{BY_SPARK}[spark]\nendpoint = "http://h"\n', 'spark.endpoint: has no effect with runner = "local"'),
        (f'{BY_SPARK}[spark]\nrunner = "emr"\ncluster = "j-1"\n{ARCHIVE}', '"emr" needs snapshot.store'),
        (f'{BY_SPARK}{IN_S3}[spark]\nrunner = "glue"\ntasks = 4\njob = "j"\n', "spark.archive: is missing, and runner"),
        (f'{BY_SPARK}{IN_S3}[spark]\nrunner = "glue"\ntasks = 6\njob = "j"\n{ARCHIVE}', "must be a multiple of 4"),
        (
            f'{BY_SPARK}{IN_S3}[spark]\nrunner = "emr"\ncluster = "j-1"\narchive = "s3://b/x.tar"\n',
            "spark.archive: must be s3://BUCKET/KEY.zip, not 's3://b/x.tar'",
        ),
        (
            f'{BY_SPARK}{IN_S3}[spark]\nrunner = "emr"\ncluster = "j-1"\npython = "python3 -c x"\n{ARCHIVE}',
            "spark.python: must be the path of a Python",
        ),
        (
            f'{BY_SPARK}[target]\nmark = "off"\n[spark]\nendpoint = "http://me:secret@h"\n',
            "spark.endpoint: has a user",
        ),
    ],
)
def test_what_cannot_be_is_said(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ProjectError) as caught:
        read(tmp_path, text)
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)
