"""What others say of a project's template and policies; cfn-lint is in ``test_template``."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.aws.test_template import PROJECTS, written, written_all

LINTERS = Path(__file__).parents[2] / ".linters" / "bin"
# What checkov may say, though the template itself says why it is so, is in the template: nothing is skipped here.
CHECKOV = ["--skip-download", "--quiet", "--framework", "cloudformation", "--output", "json", "--file"]


def linter(name: str) -> str:
    if not (LINTERS / name).is_file():
        pytest.skip(f"{name} is not in {LINTERS}: `make setup-tests` installs it")
    return str(LINTERS / name)


def said(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [linter(name), *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120
    )


def test_checkov_finds_what_is_wrong_and_nothing_in_the_templates(tmp_path: Path) -> None:
    """All in one run: it takes seconds to begin."""
    made = written_all(tmp_path, PROJECTS)
    files = [tmp_path / name / "out" / "template.json" for name in made]
    wrong = tmp_path / "template.json"
    made["wrong"] = written(tmp_path)
    del made["wrong"]["template.json"]["Resources"]["Stream"]["Properties"]["StreamEncryption"]
    wrong.write_text(json.dumps(made["wrong"]["template.json"]))
    done = said("checkov", *CHECKOV, *map(str, [*files, wrong]))
    found = json.loads(done.stdout)
    failed = [(each["file_abs_path"], each["resource"]) for each in found["results"]["failed_checks"]]
    assert (done.returncode, failed) == (1, [(str(wrong), "AWS::Kinesis::Stream.Stream")]), done.stdout
    assert found["summary"]["passed"] > 10 * len(made)
    assert found["summary"]["parsing_errors"] == 0
    assert found["summary"]["resource_count"] == sum(len(each["template.json"]["Resources"]) for each in made.values())


def test_parliament_finds_nothing_in_the_policies(tmp_path: Path) -> None:
    made = written_all(tmp_path, PROJECTS)
    policies = [
        str(tmp_path / name / "out" / file)
        for name, files in made.items()
        for file in files
        if file.startswith("policy-")
    ]
    assert len(policies) > 2 * len(made)
    done = said("parliament", "--json", "--files", ",".join(policies))
    assert (done.stdout, done.returncode) == ("", 0)


def test_parliament_finds_what_is_wrong(tmp_path: Path) -> None:
    files = written(tmp_path)
    files["policy-function.json"]["Statement"][0]["Action"] = ["kinesis:DescribeStreem"]
    names = [str(tmp_path / name) for name in sorted(files) if name.startswith("policy-")]
    for name in names:
        Path(name).write_text(json.dumps(files[Path(name).name]))
    [found] = said("parliament", "--json", "--files", ",".join(names)).stdout.splitlines()
    assert json.loads(found)["issue"] == "UNKNOWN_ACTION"
    assert json.loads(found)["location"]["filepath"].endswith("policy-function.json")
