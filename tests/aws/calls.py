"""A migration in which every account makes every call that it ever makes, with all calls recorded.

Each account has proxies of its own, so what it asked for is read from what went over the wire. Calls to S3, which only
``migrate`` makes, are noted as boto3 makes them.
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import boto3
from botocore.client import BaseClient

from demo.event_source import Event
from demo.servers import DynamoServer, Kinesalite, MariaDB, Ministack
from demo.servers.dynamo import local_client
from tests.conftest import unique
from tests.e2e.work import Work
from tests.faults import FaultProxy, Logged
from tests.function.served import Failures, Served
from whimbrel.aws.policies import documents, filled, policies
from whimbrel.project import Project, Target, load_project

# By source table: what its rule says beside source and target.
RULES = {
    "records": 'shape = "record"\npartition_key = { name = "g", type = "N" }\nsort_key = { name = "id", type = "N" }\n',
    "guarded": 'shape = "record"\npartition_key = { name = "g", type = "N" }\nsort_key = { name = "id", type = "N" }\n'
    '[table.condition]\nexpression = "attribute_not_exists(theirs)"\n',
    "guarded_later": 'shape = "record"\npartition_key = { name = "g", type = "N" }\n'
    'sort_key = { name = "id", type = "N" }\n[table.condition]\nexpression = "attribute_not_exists(theirs)"\n'
    "load = false\n",
    "grouped": 'shape = "group"\npartition_key = { name = "g", type = "N" }\n'
    'entry = { name = "${id}", value = "body" }\n',
    "listed": 'shape = "group"\npartition_key = { name = "g", type = "N" }\n'
    'entry = { as = "list", into = "all", order = ["id"] }\n',
    "counted": 'shape = "group"\npartition_key = { name = "g", type = "N" }\n'
    'entry = { name = "${id}", value = "body", as = "string-set", into = "all", rows = "of" }\n',
    "shared": 'shape = "group"\nitem = "shared"\npartition_key = { name = "g", type = "N" }\n'
    'entry = { name = "entry-${id}", value = "body" }\n',
    "shared_list": 'shape = "group"\nitem = "shared"\npartition_key = { name = "g", type = "N" }\n'
    'entry = { as = "list", into = "all", order = ["id"] }\n',
}


# By the operation, the action that IAM wants for it; the same name where it is not here.
S3_ACTIONS = {
    **dict.fromkeys(("CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"), "PutObject"),
    "HeadObject": "GetObject",
    "DeleteObjects": "DeleteObject",
    "ListObjectsV2": "ListBucket",
}
KEYS_OF = ("dynamodb:LeadingKeys", "s3:prefix")
STREAM = {"DescribeStream", "GetRecords", "GetShardIterator"}  # of a stream, whose table an iterator does not name
PREFIX = "shop"
ACCOUNT = "111122223333"


class Call(NamedTuple):
    action: str  # kinesis:PutRecords
    resource: str  # the name of a table, a stream, a bucket or an object
    key: str = ""  # of an item of the table of marks: its partition key; of a list of objects: their prefix


def rights(project: Project, account: str) -> set[Call]:
    """By the account's policies as IAM reads them: each action on each resource, and on each partition key of the
    table of marks.
    """
    found = set()
    for statement in statements(project, account):
        assert statement["Effect"] == "Allow"
        conditions = statement.get("Condition", {}).values()
        keys = next((each[name] for each in conditions for name in KEYS_OF if name in each), [""])
        for resource in statement["Resource"]:
            if resource == "*":  # of what IAM takes no other resource for
                found |= {Call(action, "*") for action in statement["Action"]}
                continue
            service, region, account_id, name = resource.split(":", 5)[2:]
            assert (region, account_id) == (("", "") if service == "s3" else ("us-east-1", ACCOUNT))
            assert {action.partition(":")[0] for action in statement["Action"]} == {service}
            named = name if service in ("s3", "sqs") else name.partition("/")[2]
            found |= {Call(action, named, key) for action in statement["Action"] for key in keys}
    return found


def statements(project: Project, account: str) -> Iterator[dict[str, Any]]:
    variables = {
        "AWS::Partition": "aws",
        "AWS::Region": "us-east-1",
        "AWS::AccountId": ACCOUNT,
        "StreamName": project.stream.name if project.stream else "",
        "MarkTable": project.target.mark,
        "FunctionName": "fn",
        "BucketName": project.store.bucket if project.store else "",
        "LakeBucket": project.lake.store.bucket if project.lake.store else "",
    }
    for document in documents(account, policies(project)[account]):
        yield from json.loads(json.dumps(filled(document, variables)))["Statement"]


def covers(right: Call, call: Call) -> bool:
    """A list of objects without a prefix, and a table as such, have no key."""
    return (
        right.action == call.action
        and fnmatch.fnmatchcase(call.resource, right.resource)
        and fnmatch.fnmatchcase(call.key, right.key)
    )


def forbidden(granted: Iterable[Call], made: Iterable[Call]) -> set[Call]:
    """The calls that no right allows."""
    return {call for call in made if not any(covers(right, call) for right in granted)}


def unused(granted: Iterable[Call], made: Iterable[Call]) -> set[Call]:
    """The rights that nobody uses."""
    return {right for right in granted if not any(covers(right, call) for call in made)}


@contextmanager
def noting_objects(found: set[Call]) -> Iterator[None]:
    """Calls to S3 and SQS, by whoever makes them in this process."""
    asked = BaseClient._make_api_call  # type: ignore[attr-defined]

    def note(client: Any, operation: str, request: dict[str, Any]) -> Any:
        if client.meta.service_model.service_name == "s3":
            found.update(_of_objects(f"s3:{S3_ACTIONS.get(operation, operation)}", request))
        if client.meta.service_model.service_name == "sqs":
            queue = request.get("QueueName") or request["QueueUrl"].rpartition("/")[2]
            found.add(Call(f"sqs:{operation}", queue))
        return asked(client, operation, request)

    with patch.object(BaseClient, "_make_api_call", note):
        yield


def _of_objects(action: str, request: dict[str, Any]) -> Iterator[Call]:
    bucket = request["Bucket"]
    if "Prefix" in request:
        yield Call(action, bucket, request["Prefix"])
        return
    for each in request["Delete"]["Objects"] if "Delete" in request else [request]:
        yield Call(action, f"{bucket}/{each['Key']}")


def of_dynamodb(each: Logged, marks: str = "") -> Iterator[Call]:
    """What a request to DynamoDB asks for. ``marks`` is the table of marks."""
    action, body = f"dynamodb:{each.operation}", each.body
    if each.operation in STREAM:
        yield Call(action, "")
    elif each.operation == "ListImports":
        yield Call(action, "*")
    elif each.operation == "DescribeImport":
        yield Call(action, body["ImportArn"].partition(":table/")[2])
    elif each.operation == "ImportTable":
        yield Call(action, body["TableCreationParameters"]["TableName"])
    else:
        for table in tables_of(body):
            yield Call(action, table, key_of(body) if table == marks else "")


def without_streams(granted: Iterable[Call]) -> set[Call]:
    """As ``of_dynamodb`` names what is asked of streams."""
    return {each._replace(resource="") if each.action.partition(":")[2] in STREAM else each for each in granted}


class Recorded:
    """A migration of one table for each of RULES, through a stream or not, with its files in a bucket; ``calls`` of an
    account are those that it made so far.
    """

    more = ""  # lines of its project file

    def __init__(
        self, folder: Path, source: MariaDB, target: DynamoServer, kinesalite: Kinesalite, s3: Ministack, streamed: bool
    ) -> None:
        self.source, self.target, self.kinesalite, self.client = source, target, kinesalite, target.client()
        self.s3, self.streamed = s3, streamed
        self.marks, self.database, self.bucket = unique("marks"), source.new_database(), unique("bucket")
        local_client("s3", s3.endpoint, s3.region).create_bucket(Bucket=self.bucket)
        self.targets = {name: unique(name.replace("_", "-")) for name in RULES}
        self.targets["shared_list"] = self.targets["shared"]
        self.accounts = ("function", "migrate") if streamed else ("migrate",)
        self.applies = self.accounts[0]
        self._open = ExitStack()
        self.tables = {each: self._proxy(target.endpoint) for each in self.accounts}
        self.streams = {each: self._proxy(kinesalite.endpoint) for each in self.accounts}
        self.objects: set[Call] = set()
        self.work = Work(folder, source, self.database, target, "")
        at = Target(self.tables_at(self.applies), "us-east-1", self.profile(self.applies), mark=self.marks)
        reading = self._open.enter_context(closing(_kinesis(self.streams_at(self.applies))))
        self.function = Function(kinesalite, target, target=at, client=reading)
        self.stream, self.failures = self.function.name, Failures(s3)
        make_marks(self.client, self.marks)
        for name in RULES:
            source.execute(
                f"CREATE TABLE `{self.database}`.{name} (g INT, id INT, body MEDIUMTEXT, PRIMARY KEY (g, id)) "
                "CHARSET utf8mb4"
            )
        self._write_project()

    def tables_at(self, account: str) -> str:
        return self.tables[account].endpoint

    def streams_at(self, account: str) -> str:
        return self.streams[account].endpoint

    def profile(self, account: str) -> str:
        return ""

    def command(self, *arguments: str, code: int = 0) -> None:
        self.work.call(*arguments, code=code)

    def refuse_deletes(self) -> None:
        """Of whoever applies: as if these items could not be deleted."""
        self.tables[self.applies].add("refuse", operation="DeleteItem", code="ValidationException")

    def take_deletes(self) -> None:
        self.tables[self.applies].clear()

    def _proxy(self, upstream: str) -> FaultProxy:
        return self._open.enter_context(FaultProxy(upstream))

    def close(self) -> None:
        self._open.close()

    def _write_project(self) -> None:
        tables = "".join(
            f'[[table]]\nsource = "{self.database}.{name}"\ntarget = "{self.targets[name]}"\n{rule}'
            for name, rule in RULES.items()
        )
        through = (
            f'[log]\nengine = "kinesis"\nstream = "{self.stream}"\nendpoint = "{self.streams_at("migrate")}"\n'
            f'[apply]\nengine = "lambda"\n{self.failures.project_lines}'
        )
        self.project.write_text(
            f'[source]\nurl = "{self.source.url(self.database)}"\n'
            f'[target]\nendpoint = "{self.tables_at("migrate")}"\nregion = "us-east-1"\nmark = "{self.marks}"\n'
            f'profile = "{self.profile("migrate")}"\n'
            f'[snapshot]\nstore = "s3://{self.bucket}/{PREFIX}"\nendpoint = "{self.s3.endpoint}"\n'
            f"{through if self.streamed else ''}{self.more}{tables}"
        )

    @property
    def project(self) -> Path:
        return self.work.folder / "whimbrel.toml"

    def allowed(self, account: str) -> set[Call]:
        return rights(load_project(self.project), account)

    def run(self) -> None:
        """From nothing to a migration that was repaired and verified."""
        self.execute("INSERT INTO {} VALUES (1, 1, 'a'), (1, 2, 'b'), (2, 1, 'c'), (3, 1, 'd'), (4, 1, 'e')")
        call = self.command
        with (
            self.function if self.streamed else nullcontext(),
            noting_objects(self.objects),
        ):
            call("check")
            call("migrate", "--dry-run")
            call("migrate", "--until-caught-up")
            self.execute("UPDATE {} SET body = 'f' WHERE id = 2")
            self.execute("DELETE FROM {} WHERE g = 2")
            call("migrate", "--until-caught-up")
            self._leave_letters()
            call("retry-dead")
            call("migrate", "--until-caught-up")
            call("refill", f"{self.database}.guarded_later")
            self._disturb()
            call("verify", code=5)
        call("status")

    def _leave_letters(self) -> None:
        """Of items that are too large, and of items that nobody may delete for now; the rows of both are gone."""
        self.refuse_deletes()
        self.execute("DELETE FROM {} WHERE g = 3")
        self.execute("UPDATE {} SET body = REPEAT('g', 410000) WHERE g = 4")
        self.command("migrate", "--until-caught-up", code=4)
        self.take_deletes()
        self.execute("DELETE FROM {} WHERE g = 4")

    def _disturb(self) -> None:
        """Somebody else writes into each target table, so that verify has something to look at twice."""
        for name, table in self.targets.items():
            keys = ("g", "id") if "sort_key" in RULES[name] else ("g",)
            key: dict[str, Any] = {each: {"N": "1"} for each in keys}
            self.client.put_item(TableName=table, Item={**key, "theirs": {"S": "x"}})

    def execute(self, statement: str) -> None:
        """Of each source table, as ``{}``."""
        for name in RULES:
            self.source.execute(statement.format(f"`{self.database}`.{name}"))

    def calls(self, account: str) -> set[Call]:
        found = {call for each in self.tables[account].log for call in of_dynamodb(each, self.marks)}
        found |= {Call(f"kinesis:{each.operation}", self.stream) for each in self.streams[account].log}
        return found | (self.objects if account == "migrate" else set())


def make_marks(client: Any, name: str) -> None:
    """The table of marks, as the template makes it."""
    names = ("target", "migration")
    client.create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": each, "AttributeType": "S"} for each in names],
        KeySchema=[{"AttributeName": names[0], "KeyType": "HASH"}, {"AttributeName": names[1], "KeyType": "RANGE"}],
        BillingMode="PAY_PER_REQUEST",
    )
    client.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1})


def key_of(body: dict[str, Any]) -> str:
    """The partition key of an item of the table of marks; "" for a call about the table itself."""
    if "KeyConditionExpression" in body:
        name = body["KeyConditionExpression"].partition(" = ")[2].partition(" ")[0]
        return str(body["ExpressionAttributeValues"][name]["S"])
    return str((body.get("Key") or body.get("Item") or {"target": {"S": ""}})["target"]["S"])


class Function(Served):
    """``refused`` has what ended an invocation."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.refused: list[Exception] = []

    def _invoke(self, event: Event) -> Any:
        try:
            return super()._invoke(event)
        except Exception as error:
            self.refused.append(error)
            raise


def _kinesis(endpoint: str) -> Any:
    keys: dict[str, Any] = {"aws_access_key_id": "local", "aws_secret_access_key": "local"}
    return boto3.client("kinesis", endpoint_url=endpoint, region_name="us-east-1", **keys)


def tables_of(body: dict[str, Any]) -> list[str]:
    return list(body["RequestItems"]) if "RequestItems" in body else [body["TableName"]]
