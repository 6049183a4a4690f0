"""What others say of a project's template and policies; cfn-lint is in ``test_template``."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.aws.test_template import LAKE, SAGEMAKER, SPARK, STORE, STREAM, WAREHOUSES, by_spark, written

LINTERS = Path(__file__).parents[2] / ".linters" / "bin"
# What checkov may say, though the template itself says why it is so, is in the template: nothing is skipped here.
CHECKOV = ["--skip-download", "--quiet", "--framework", "cloudformation", "--output", "json", "--file"]


def linter(name: str) -> str:
    if not (LINTERS / name).is_file():
        pytest.skip(f"{name} is not in {LINTERS}: `make setup-tests` installs it")
    return str(LINTERS / name)


def said(name: str, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([linter(name), *arguments], input=stdin, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    "stream",
    [STREAM + STORE + LAKE + SAGEMAKER, *map(by_spark, SPARK), *WAREHOUSES.values()],
    ids=["all", *SPARK, *WAREHOUSES],
)
def test_checkov_finds_nothing_in_the_template(tmp_path: Path, stream: str) -> None:
    written(tmp_path, stream=stream)
    done = said("checkov", *CHECKOV, str(tmp_path / "out" / "template.json"))
    found = json.loads(done.stdout)
    assert (done.returncode, found["results"]["failed_checks"]) == (0, []), done.stdout
    assert found["summary"]["passed"] > 10
    assert found["summary"]["parsing_errors"] == 0


def test_checkov_finds_what_is_wrong(tmp_path: Path) -> None:
    files = written(tmp_path)
    del files["template.json"]["Resources"]["Stream"]["Properties"]["StreamEncryption"]
    (tmp_path / "template.json").write_text(json.dumps(files["template.json"]))
    done = said("checkov", *CHECKOV, str(tmp_path / "template.json"))
    assert [each["resource"] for each in json.loads(done.stdout)["results"]["failed_checks"]] == [
        "AWS::Kinesis::Stream.Stream"
    ]


@pytest.mark.parametrize(
    "stream",
    [STREAM + STORE + LAKE + SAGEMAKER, *map(by_spark, SPARK), *WAREHOUSES.values()],
    ids=["all", *SPARK, *WAREHOUSES],
)
def test_parliament_finds_nothing_in_the_policies(tmp_path: Path, stream: str) -> None:
    files = written(tmp_path, stream=stream)
    policies = {name: text for name, text in files.items() if name.startswith("policy-")}
    assert policies
    for name, policy in policies.items():
        done = said("parliament", "--json", stdin=json.dumps(policy))
        assert (done.stdout, done.returncode) == ("", 0), name


def test_parliament_finds_what_is_wrong(tmp_path: Path) -> None:
    policy = written(tmp_path)["policy-function.json"]
    policy["Statement"][0]["Action"] = ["kinesis:DescribeStreem"]
    assert "UNKNOWN_ACTION" in said("parliament", "--json", stdin=json.dumps(policy)).stdout
