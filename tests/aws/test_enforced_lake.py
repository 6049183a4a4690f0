"""Export, convert and query with a lake in S3, each under its own policy, enforced by ministack, and with one right
less each time.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.aws.test_enforced import Enforcing, Right, new_user, write_keys
from tests.conftest import started, unique
from tests.lake.machines import Bucketed, Machine
from tests.lake.test_export import key, new_table

pytestmark = pytest.mark.slow

ACCOUNTS = ("export", "convert", "query")
RIGHTS = [
    *(("export", "Scan", f"dynamodb:{name}") for name in ("DescribeTable", "Scan")),
    *(("export", "Exports", f"s3:{name}") for name in ("GetObject", "PutObject", "DeleteObject")),
    ("export", "List", "s3:ListBucket"),
    ("convert", "Exports", "s3:GetObject"),
    *(("convert", "Datasets", f"s3:{name}") for name in ("GetObject", "PutObject", "DeleteObject")),
    ("convert", "List", "s3:ListBucket"),
    ("query", "Read", "s3:GetObject"),
    ("query", "List", "s3:ListBucket"),
]


@pytest.fixture(scope="module")
def enforcing(server_folder: Path) -> Iterator[Enforcing]:
    yield from started(Enforcing, server_folder)


@pytest.mark.parametrize("less", [("", "", ""), *RIGHTS], ids="-".join)
def test_each_step_has_a_role_of_its_own(
    tmp_path: Path, enforcing: Enforcing, monkeypatch: pytest.MonkeyPatch, less: Right
) -> None:
    """One machine for each role. The right that is missing is named by the step whose role lacks it."""
    credentials = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
    credentials.write_text("".join(f"[{each}]\n" for each in ACCOUNTS))
    table, bucket = unique("rights"), Bucketed(enforcing)
    client = new_table(enforcing, table, 12)
    rule = f'[[dataset]]\ntable = "{table}"\nkey = ["pk", "sk"]\n'
    machines = {
        each: bucket.machine(tmp_path / each, enforcing, rule, "keep = 1\nkeep_exports = 1\n") for each in ACCOUNTS
    }
    for account, machine in machines.items():
        text = machine.project.read_text()
        machine.project.write_text(text.replace("[target]\n", f'[target]\nprofile = "{account}"\nmark = "off"\n'))
    keys = {
        account: new_user(enforcing.endpoint, machine.project, account, less, {"LakeBucket": bucket.name})
        for account, machine in machines.items()
    }
    write_keys(credentials, keys)

    def steps() -> None:
        for turn in range(2):
            client.put_item(TableName=table, Item=key(turn) | {"n": {"N": str(turn)}})
            run(machines["export"], "export", table, "--full")
            run(machines["convert"], "convert", table, "--again")
            run(machines["query"], "query", f'SELECT count(*) FROM "{table}"')

    if not less[0]:
        steps()
        return
    with pytest.raises(AssertionError, match=r"is refused|PrivilegeError|not authorized") as caught:
        steps()
    assert str(caught.value).startswith(less[0]), "it ended in the step of that role"


def run(machine: Machine, *arguments: str) -> None:
    result = machine.call(*arguments)
    assert result.exit_code == 0, f"{arguments[0]}: {result.exception!r} {result.output}"
