"""Projects with unusual names, many tables, several rules for a table and all engines: what the linters say of each."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.aws.test_linters import CHECKOV, said
from tests.aws.test_template import ACCOUNT, ARCHIVE, KEY, LAKE, SAGEMAKER, SPARK, STREAM
from whimbrel.cli.main import main

pytestmark = pytest.mark.slow

STORE = '[snapshot]\nstore = "s3://shop-files/a=b/c.d_e"\n'
BACK = '[cutover]\nreverse_user = "back"\nroute_item = true\n'
TTL = '[table.ttl]\nattribute = "x"\ncolumn = "c"\n'
CONDITION = '[table.condition]\nexpression = "attribute_not_exists(theirs)"\n'


def table(source: str, target: str, prefix: str = "", more: str = "") -> str:
    key = f'partition_key = {{ name = "id", value = "{prefix}${{id}}" }}'
    return f'[[table]]\nsource = "{source}"\ntarget = "{target}"\nshape = "record"\n{key}\n{more}'


def by(runner: str) -> str:
    return f'[load]\nengine = "spark"\n[spark]\nrunner = "{runner}"\n{ARCHIVE}{SPARK[runner]}'


def stream(name: str, queue: str) -> str:
    return f'[log]\nengine = "kinesis"\nstream = "{name}"\n[apply]\nengine = "lambda"\nfailures = "{queue}"\n'


ODD = table("order details`x", "T." + "-_" * 120, "a#") + table("ünïcode täble", "abc", "b#")
SEVERAL = "".join(table("t", f"same-{number % 3}", f"K{number}#", TTL) for number in range(9))
GUARDED = "".join(
    table(f"t{number}", f"tt-{number}", more=CONDITION + ("load = false\n" if number % 2 else ""))
    for number in range(40)
)
MANY = "".join(table(f"t{number}", f"records-of-the-shop-{number:03}") for number in range(50))
PROJECTS = {
    "odd names": ('mark = "a.b-c_d"\n', stream("._-" * 42, "q" * 80) + STORE + by("emr-serverless"), ODD),
    "several rules": ("", STREAM + STORE + by("glue"), SEVERAL),
    "conditions, import": ("", STREAM + STORE + '[load]\nengine = "import"\n' + BACK, GUARDED),
    "emr and a lake": ("", STREAM + STORE + by("emr") + LAKE, table("records", "records")),
    "no mark, a lake": ('mark = "off"\n', LAKE, table("records", "records")),
    "everything": ("", STREAM + STORE + by("emr-serverless") + LAKE + SAGEMAKER, MANY + table("records", "records")),
}


@pytest.mark.parametrize("key", ["", KEY], ids=["no key", "key"])
@pytest.mark.parametrize("name", PROJECTS)
def test_linters_find_nothing_in_what_is_written(tmp_path: Path, name: str, key: str) -> None:
    target, parts, tables = PROJECTS[name]
    file, out = tmp_path / "whimbrel.toml", tmp_path / "out"
    file.write_text(f'[source]\nurl = "mysql://me@db/shop"\n[target]\nregion = "us-east-1"\n{target}{parts}{tables}')
    done = CliRunner().invoke(main, ["aws", "template", "-p", str(file), "-o", str(out), *ACCOUNT, "--key", key])
    assert done.exit_code == 0, done.output
    template = json.loads((out / "template.json").read_text())
    assert (out / "template.json").stat().st_size < 1_000_000  # what CloudFormation takes
    assert len(template["Resources"]) < 500
    for each in template["Parameters"].values():
        assert re.fullmatch(each.get("AllowedPattern", ".*"), str(each.get("Default", "")))
    for each in template["Resources"].values():
        assert len(each["Properties"].get("ManagedPolicyArns", ())) <= 10
    lint = [str(Path(sys.executable).with_name("cfn-lint")), "--regions", "eu-west-1", "--include-checks", "I", "--"]
    found = subprocess.run([*lint, str(out / "template.json")], capture_output=True, text=True)
    assert (found.stdout, found.returncode) == ("", 0)
    found = said("checkov", *CHECKOV, str(out / "template.json"))
    assert json.loads(found.stdout)["results"]["failed_checks"] == []
    policies = list(out.glob("policy-*.json"))
    for policy in policies:
        assert len(json.dumps(json.loads(policy.read_text()), separators=(",", ":"))) <= 6_144
    assert said("parliament", "--json", "--files", ",".join(map(str, policies))).stdout == ""
