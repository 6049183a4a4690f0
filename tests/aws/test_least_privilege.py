"""The policies against the calls that are made: none is missing, and none is there for nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.servers import Dynalite, Kinesalite, MariaDB
from tests.aws.calls import ACCOUNTS, Call, Recorded
from whimbrel.aws.policies import documents, filled, policies
from whimbrel.project import load_project

# Of the function's role, what no stand-in asks for: Lambda does it by itself, on AWS.
BY_LAMBDA = {
    "kinesis:DescribeStreamSummary",
    "kinesis:ListShards",
    "logs:CreateLogStream",
    "logs:PutLogEvents",
    "sqs:SendMessage",
}


@pytest.fixture
def recorded(tmp_path: Path, mariadb: MariaDB, dynalite: Dynalite, kinesalite: Kinesalite) -> Iterator[Recorded]:
    made = Recorded(tmp_path, mariadb, dynalite, kinesalite)
    yield made
    made.close()


def allowed(recorded: Recorded, account: str) -> set[Call]:
    """By the policies as JSON, as IAM reads them: each action on each resource."""
    variables = {
        "AWS::Partition": "aws",
        "AWS::Region": "us-east-1",
        "AWS::AccountId": "111122223333",
        "StreamName": recorded.stream,
        "MarkTable": recorded.marks,
        "FunctionName": "fn",
    }
    found = set()
    project = load_project(recorded.project)
    for document in documents(account, policies(project)[account]):
        read = json.loads(json.dumps(filled(document, variables)))
        for statement in read["Statement"]:
            assert set(statement) == {"Sid", "Effect", "Action", "Resource"}
            assert statement["Effect"] == "Allow"
            for resource in statement["Resource"]:
                service, region, account_id, name = resource.split(":", 5)[2:]
                assert (region, account_id) == ("us-east-1", "111122223333")
                found |= {Call(action, name.partition("/")[2]) for action in statement["Action"]}
                assert {action.partition(":")[0] for action in statement["Action"]} == {service}
    return found


def test_every_call_is_allowed_and_every_right_is_used(recorded: Recorded) -> None:
    recorded.run()
    for account in ACCOUNTS:
        rights = allowed(recorded, account)
        unseen = {each for each in rights if each.action in BY_LAMBDA and account == "function"}
        made = recorded.calls(account)
        assert made - rights == set(), f"{account}: calls that no policy allows"
        assert rights - unseen - made == set(), f"{account}: rights that nobody uses"


@pytest.mark.slow
@pytest.mark.parametrize("operation", ["DescribeStreamSummary", "PutRecords"])
def test_a_right_on_the_stream_that_is_missing_ends_the_run(recorded: Recorded, operation: str) -> None:
    with recorded.function:
        recorded.command("migrate", "--until-caught-up")
        recorded.execute("INSERT INTO {} VALUES (1, 1, 'a')")
        recorded.streams["migrate"].add("refuse", operation=operation, code="AccessDeniedException")
        said = recorded.work.call("migrate", "--until-caught-up", code=2).output
    assert "PrivilegeError" in said
    assert operation in said or recorded.stream in said
