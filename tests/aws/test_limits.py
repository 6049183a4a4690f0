"""Projects with many tables and unusual names: what is written keeps to what AWS takes, or is refused by name."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import whimbrel
from tests.aws.test_template import STORE, STREAM, project, written
from whimbrel.aws.through import function_name
from whimbrel.errors import ProjectError


def test_many_tables_are_divided_among_policies_that_aws_takes(tmp_path: Path) -> None:
    files = written(tmp_path, tables=60)
    documents = [files[name] for name in sorted(files) if name.startswith("policy-migrate")]
    assert len(documents) > 1
    assert all(len(re.sub(r"\s", "", json.dumps(each))) <= 6_144 for each in documents)
    named = [
        r
        for each in documents
        for s in each["Statement"]
        for r in s["Resource"]
        if "group-" in r and "/import/" not in r
    ]
    assert len(named) == len(set(named)) == 60
    attached = files["template.json"]["Resources"]["Role"]["Properties"]["ManagedPolicyArns"]
    assert len(attached) == len([name for name in files if name.startswith("policy-function")]) + 2  # key and VPC


def test_more_tables_than_a_role_has_policies_for_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match=r"needs [0-9]+ policies for all target tables, and a role has 8 for them"):
        whimbrel.aws_template(project(tmp_path, 300), account="111122223333", output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_role_has_no_more_policies_than_aws_takes(tmp_path: Path) -> None:
    """With those of a key and a VPC, for as many tables as are not refused."""
    for tables in range(60, 260, 10):
        try:
            whimbrel.aws_template(project(tmp_path, tables, stream=STREAM), account="111122223333", output=tmp_path)
        except ProjectError:
            break
    else:
        raise AssertionError("none was refused")
    resources = json.loads((tmp_path / "template.json").read_text())["Resources"]
    roles = [each for each in resources.values() if each["Type"] == "AWS::IAM::Role"]
    assert all(len(each["Properties"]["ManagedPolicyArns"]) <= 10 for each in roles)


@pytest.mark.parametrize("failures", ["", 'failures = "lost-batches"\n'])
@pytest.mark.parametrize("name", ["a", "-_.", "a.b", "x" * 128, "." * 128])
def test_names_are_those_that_aws_takes(tmp_path: Path, name: str, failures: str) -> None:
    files = written(tmp_path, stream=STREAM.replace("shop.changes", name) + failures + STORE)
    template = files["template.json"]
    parameters = template["Parameters"]
    for each in ("StreamName", "FunctionName", "MarkTable", "BucketName"):
        assert re.fullmatch(parameters[each]["AllowedPattern"], parameters[each]["Default"])
    function = parameters["FunctionName"]["Default"]
    queue = "lost-batches" if failures else f"{function}-failed"
    said = template["Resources"]["FailedBatches"]["Properties"]["QueueName"]
    assert said == ("lost-batches" if failures else {"Fn::Sub": "${FunctionName}-failed"})
    assert len(queue) <= 80
    assert len(function) <= 57
    reported = [r for s in files["policy-function.json"]["Statement"] for r in s["Resource"] if ":sqs:" in r]
    assert reported == [f"arn:aws:sqs:eu-west-1:111122223333:{queue}"]
    read = [r for s in files["policy-migrate.json"]["Statement"] for r in s["Resource"] if ":sqs:" in r]
    assert read == (reported if failures else [])


def test_streams_whose_names_differ_late_have_functions_of_their_own() -> None:
    assert len({function_name(f"{'x' * 100}{last}") for last in "abc"}) == 3
    assert function_name("shop.changes") == "shop-changes"


@pytest.mark.parametrize("name", ["shop-*", "a b", "${AWS::Region}", "ab", "x" * 256])
@pytest.mark.parametrize("section", ['[[table]]\nsource = "t"\ntarget', "[[dataset]]\ntable"])
def test_a_table_that_no_policy_can_name_is_refused(tmp_path: Path, name: str, section: str) -> None:
    rest = 'shape = "record"\npartition_key = { name = "id" }\n' if "target" in section else 'name = "d"\n'
    file = tmp_path / "whimbrel.toml"
    file.write_text(
        f'[source]\nurl = "mysql://me@db/shop"\n[target]\nregion = "us-east-1"\n{section} = "{name}"\n{rest}'
    )
    with pytest.raises(ProjectError, match="is not the name of a DynamoDB table"):
        whimbrel.aws_template(file, account="111122223333", output=tmp_path / "out")
    assert not (tmp_path / "out").exists()
