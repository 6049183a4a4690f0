"""Who may do what on AWS: exactly the calls that whimbrel makes, on exactly what a project has there.

Accounts:

- ``function`` is the function's role, where there is a stream. Some of its rights are used by Lambda itself, in the
  function's name.
- ``migrate`` runs every command of a migration.
- ``verify`` can only read: for ``whimbrel verify`` beside a ``migrate`` that runs. Where none runs, the command takes
  over the mark and applies what was captured, as every other one does, and needs ``migrate``.
- ``cutover``, ``rollback`` and ``finish`` have what these commands need beside ``migrate``. After a rollback,
  ``migrate`` looks for late writes, and needs ``rollback`` too.
- ``spark`` is the role of the jobs, where Spark on AWS loads.
- ``export``, ``restore`` and ``renew`` run those commands, and where the lake is in S3, ``convert`` and ``query`` too.
  ``train`` needs ``query``.
- ``converge`` runs that command with a warehouse in Redshift, and ``copy`` is the role of Redshift itself. Into another
  warehouse, silos of DynamoDB tables need ``export``, and where the lake is in S3 ``convert``.
- ``train``, ``gate``, ``serve`` and others, where models are on SageMaker: predicting.py.

``tests/aws/test_least_privilege.py`` compares this with the calls that are made, both ways.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from whimbrel.aws.allowed import BUCKET, STREAM, TABLE, WRITES_OBJECTS, Allowed, follows_imports, lists, of
from whimbrel.aws.catalog import LONGEST as LONGEST_OF_THE_CATALOG
from whimbrel.aws.converging import LONGEST as LONGEST_OF_THE_WAREHOUSE
from whimbrel.aws.converging import converging
from whimbrel.aws.lake_policies import lake_policies
from whimbrel.aws.predicting import predicting
from whimbrel.dynamodb.marks import ROUTE
from whimbrel.errors import ProjectError
from whimbrel.kinesis.kept import CHANGES
from whimbrel.mapping.rules import TABLE_NAME
from whimbrel.project import OFF, Project, Spark, Stream, TableRule
from whimbrel.project.spark import LOCAL

MOST_CHARACTERS = 6_144  # of a managed policy, without blanks
MOST_POLICIES = 10  # of a role, unless its account has asked for more
_BESIDE = {"function": 2, "spark": 1}  # of a role that the template makes: those of a key, and of a VPC
_STREAM_KEYS = ("whimbrel stream ${StreamName}", "whimbrel lanes *")  # of the table of marks
_QUEUE = "arn:${AWS::Partition}:sqs:${AWS::Region}:${AWS::AccountId}:"
_LOGS = "arn:${AWS::Partition}:logs:${AWS::Region}:${AWS::AccountId}:log-group:/aws/lambda/${FunctionName}:*"
_MARKS = TABLE + "${MarkTable}"
_SPARK = "arn:${AWS::Partition}:%s:${AWS::Region}:${AWS::AccountId}:%s"
# The longest that each may be: a template's parameters are not known when a policy is divided.
_LONGEST = {
    "AWS::Partition": 10,
    "AWS::Region": 16,
    "AWS::AccountId": 12,
    "StreamName": 128,
    "FunctionName": 64,
    "MarkTable": 255,
    "BucketName": 63,
    "LakeBucket": 63,
    "SparkApplication": 64,
    "SparkRole.Arn": 256,
    "SparkJob": 255,
    "SparkCluster": 64,
    **LONGEST_OF_THE_CATALOG,
    **LONGEST_OF_THE_WAREHOUSE,
    "SageMakerRole.Arn": 256,
    "RenewName": 32,
}
MOST_KEYS = 2_000  # characters of the keys that one statement names
KEY_ACTIONS = ("kms:Decrypt", "kms:GenerateDataKey")

Document = dict[str, Any]


def policies(project: Project) -> dict[str, list[Allowed]]:
    """The statements of each account, by its name. Raises ProjectError for a table that no policy can name."""
    _refuse_names(project)
    function = {"function": [*_by_lambda(project.stream), *_function(project)]} if project.stream else {}
    spark = {"spark": list(_spark(project))} if spark_on_aws(project) else {}
    reads = _on_tables("Verify", ((rule.target, _reads(rule)) for rule in project.tables))
    moving = {"migrate": list(_migrate(project)), "verify": list(reads), **_hands_over(project)}
    made = {**function, **(moving if moves(project) else {}), **spark, **lake_policies(project), **predicting(project)}
    made |= converging(project)
    return {name: statements for name, statements in made.items() if statements}


def moves(project: Project) -> bool:
    """Whether the project has a migration: one of silos alone has none."""
    return bool(project.tables or not (project.silos or project.item_silos))


def marked(project: Project) -> bool:
    """Whether its migration has marks in a table."""
    return project.target.mark != OFF and moves(project)


def spark_on_aws(project: Project) -> Spark | None:
    """None where no job of Spark runs on AWS."""
    return project.spark if project.spark and project.spark.runner != LOCAL else None


def documents(name: str, statements: Iterable[Allowed]) -> list[Document]:
    """As policies that are no longer than AWS takes. Raises ProjectError if that makes too many of them."""
    made: list[Document] = []
    parts: list[Allowed] = []
    for statement in statements:
        for resource in statement.resources:
            more = _with(parts, statement, resource)
            if parts and _characters(more) > MOST_CHARACTERS:
                made.append(_document(parts))
                more = _with([], statement, resource)
            parts = more
    made.append(_document(parts))
    if len(made) > (most := MOST_POLICIES - _BESIDE.get(name, 0)):
        raise ProjectError(
            f"the account {name!r} needs {len(made)} policies for all target tables, and a role has {most} for them",
            place="aws template",
            hint="Divide the tables among several project files, each with a stream of its own.",
        )
    return made


def filled(value: Any, variables: Mapping[str, str]) -> Any:
    """A document with the ``variables`` of a template in their places."""
    text = json.dumps(value)
    for name, what in variables.items():
        text = text.replace(f"${{{name}}}", json.dumps(what)[1:-1])
    return json.loads(text)


def key_document(key: Any) -> Document:
    """What both accounts need where a KMS key of the user's encrypts; ``key`` is its ARN, or how a template says it."""
    allowed = {"Sid": "Key", "Effect": "Allow", "Action": list(KEY_ACTIONS), "Resource": [key]}
    return {"Version": "2012-10-17", "Statement": [allowed]}


def queue_name(stream: Stream) -> str:
    """Of the queue to which Lambda reports what it gave up."""
    return stream.failures or "${FunctionName}-failed"


def _refuse_names(project: Project) -> None:
    """A star in one would be a right on other tables, and a ``${`` would be a template's variable."""
    names = {rule.target for rule in project.tables} | {each.table for each in project.lake.datasets}
    names |= {table for silo in project.item_silos for table in silo.tables}
    for name in sorted(names):
        if not re.fullmatch(TABLE_NAME, name):
            said = f"{name!r} is not the name of a DynamoDB table: 3 to 255 letters, digits and _.-"
            raise ProjectError(said, place=str(project.path), hint="Correct `target` or `table` in the project file.")


# the accounts


def _by_lambda(stream: Stream) -> Iterator[Allowed]:
    """What Lambda does itself: it reads the stream, keeps the logs, and reports the batches that were given up."""
    read = ("DescribeStream", "DescribeStreamSummary", "GetRecords", "GetShardIterator", "ListShards")
    yield Allowed("LambdaReadsStream", of("kinesis", read), (STREAM,))
    yield Allowed("LambdaWritesLogs", of("logs", ("CreateLogStream", "PutLogEvents")), (_LOGS,))
    yield Allowed("LambdaReportsFailures", of("sqs", ("SendMessage",)), (_QUEUE + queue_name(stream),))


def _function(project: Project) -> Iterator[Allowed]:
    yield from _on_tables("Apply", ((rule.target, _applies(rule)) for rule in project.tables))
    yield from _on_marks(("GetItem", "PutItem", "UpdateItem"), _STREAM_KEYS)
    if project.store:  # of changes that no record takes; with the second, one that is gone is said to be missing
        prefix = f"{project.store.prefix}/{CHANGES}"
        yield Allowed("Changes", of("s3", ("GetObject",)), (f"{BUCKET}/{prefix}/*",))
        yield lists("ChangesList", BUCKET, prefix)


def _migrate(project: Project) -> Iterator[Allowed]:
    make = {"CreateTable", "DescribeTable"} | ({"ImportTable"} if project.loader == "import" else set())
    calls = (
        (rule.target, {*make, *_reads(rule), *_loads(rule), *(set() if project.stream else _applies(rule))})
        for rule in project.tables
    )
    yield from _on_tables("Migrate", calls)
    if project.target.mark != OFF:
        keys = sorted({rule.target for rule in project.tables})
        writes = ("DeleteItem", "GetItem", "PutItem", "Query", "UpdateItem")
        yield from _on_marks(
            writes if project.stream else tuple(each for each in writes if each != "PutItem"),
            (*(_STREAM_KEYS if project.stream else ()), *keys),
        )
        yield Allowed("MarksTable", of("dynamodb", ("DescribeTable",)), (_MARKS,))
    if project.stream:
        yield Allowed("Send", of("kinesis", ("DescribeStreamSummary", "PutRecords")), (STREAM,))
        if project.stream.failures:  # of what Lambda gave up: its report, and its records
            yield Allowed("GivenUp", of("kinesis", ("GetRecords", "GetShardIterator")), (STREAM,))
            queue = _QUEUE + queue_name(project.stream)
            yield Allowed("Reports", of("sqs", ("DeleteMessage", "GetQueueUrl", "ReceiveMessage")), (queue,))
    if project.store:
        yield from _on_bucket(project.store.prefix)
    if project.loader == "import":
        yield from follows_imports(sorted({rule.target for rule in project.tables}))
    if spark := spark_on_aws(project):
        yield from _submits(spark.runner)


def _hands_over(project: Project) -> dict[str, list[Allowed]]:
    """Without a way back no stream is turned on; one that is on shows who else writes."""
    if project.target.shared or any(rule.lookups for rule in project.tables):
        return {}  # a cutover is refused
    targets = sorted({rule.target for rule in project.tables})
    way_back = bool(project.cutover.reverse_user)
    turns, markers = ({"UpdateTable"}, {"DeleteItem", "PutItem"}) if way_back else (set[str](), set[str]())
    expires = {rule.target: {"UpdateTimeToLive"} for rule in project.tables if rule.ttl}
    read = of("dynamodb", ("DescribeStream", "GetRecords", "GetShardIterator"))
    both = [Allowed("Streams", read, tuple(f"{TABLE}{target}/stream/*" for target in targets))]
    if project.cutover.route_item and project.target.mark != OFF:
        route = ("ForAllValues:StringEquals", "dynamodb:LeadingKeys", (ROUTE,))
        both.append(Allowed("Route", of("dynamodb", ("UpdateItem",)), (_MARKS,), route))
    made = {
        "cutover": [*_on_tables("Cutover", ((each, turns | markers) for each in targets)), *both],
        "rollback": [*_on_tables("Rollback", ((each, markers) for each in targets)), *both] if way_back else [],
        "finish": list(_on_tables("Finish", ((each, turns | expires.get(each, set())) for each in targets))),
    }
    return {name: statements for name, statements in made.items() if statements}


def _submits(runner: str) -> Iterator[Allowed]:
    """Start jobs, follow them, and end them."""
    if runner == "emr-serverless":
        application = _SPARK % (runner, "/applications/${SparkApplication}")
        yield Allowed("SparkStart", of(runner, ("StartJobRun",)), (application,))
        yield Allowed("SparkFollow", of(runner, ("CancelJobRun", "GetJobRun")), (f"{application}/jobruns/*",))
        to = ("StringEquals", "iam:PassedToService", ("emr-serverless.amazonaws.com",))
        yield Allowed("SparkRole", of("iam", ("PassRole",)), ("${SparkRole.Arn}",), to)
    elif runner == "glue":
        actions = of("glue", ("BatchStopJobRun", "GetJobRun", "StartJobRun"))
        yield Allowed("Spark", actions, (_SPARK % ("glue", "job/${SparkJob}"),))
    else:
        actions = of("elasticmapreduce", ("AddJobFlowSteps", "CancelSteps", "DescribeStep"))
        yield Allowed("Spark", actions, (_SPARK % ("elasticmapreduce", "cluster/${SparkCluster}"),))


def _spark(project: Project) -> Iterator[Allowed]:
    """The tasks of a job: they read chunks, write items, and tell what they did in files of the job's folder."""
    spark, store = project.spark, project.store
    assert spark, "asked before"
    assert store, "the project file was refused without one"
    yield from _on_tables("Load", ((rule.target, _loads_whole(rule)) for rule in project.tables))
    yield Allowed("Chunks", of("s3", ("GetObject",)), (f"{BUCKET}/{store.prefix}/*",))
    # With it, what is not there is said to be missing rather than forbidden.
    yield lists("ChunksList", BUCKET, store.prefix)
    told = of("s3", ("DeleteObject", "PutObject"))
    yield Allowed("Told", told, (f"{BUCKET}/{store.prefix}/spark/*",))
    archive = spark.archive.removeprefix("s3://")
    yield Allowed("Archive", of("s3", ("GetObject",)), (f"arn:${{AWS::Partition}}:s3:::{archive}",))
    if spark.runner == "glue":
        logs = of("logs", ("CreateLogGroup", "CreateLogStream", "PutLogEvents"))
        yield Allowed("Logs", logs, (_SPARK % ("logs", "log-group:/aws-glue/jobs/*"),))


def _on_bucket(prefix: str) -> Iterator[Allowed]:
    yield Allowed("Snapshot", WRITES_OBJECTS, (f"{BUCKET}/{prefix}/*",))
    yield lists("SnapshotList", BUCKET, prefix)


# what a table's rule means for the calls that are made


def _applies(rule: TableRule) -> set[str]:
    """To write a change's items."""
    if rule.condition:
        return {"PutItem", "DeleteItem"}
    if rule.shape == "group" or rule.item == "shared":  # a part of an item; the last one takes the item with it
        return {"UpdateItem", "DeleteItem"} | (
            {"GetItem"} if rule.entry_as == "list" or rule.entry_rows or _is_deep(rule) else set()
        )
    return {"BatchWriteItem"}


def _is_deep(rule: TableRule) -> bool:
    """Whether its entries are in maps of another map, which is read before it is written: by whoever writes it."""
    return "${" in rule.entry_into


def _loads(rule: TableRule) -> set[str]:
    """To write whole items, at the load, of dead letters, and by ``refill``; and to remove them."""
    if rule.item == "shared":
        return {"UpdateItem", "DeleteItem"} | ({"GetItem"} if _is_deep(rule) else set())
    if rule.condition:
        return {"PutItem", "DeleteItem"} if rule.condition.load else {"PutItem", "DeleteItem", "BatchWriteItem"}
    return {"BatchWriteItem"}


def _loads_whole(rule: TableRule) -> set[str]:
    """To write whole items at the load alone."""
    if rule.item == "shared":
        return {"UpdateItem"} | ({"GetItem"} if _is_deep(rule) else set())
    return {"PutItem"} if rule.condition and rule.condition.load else {"BatchWriteItem"}


def _reads(rule: TableRule) -> set[str]:
    """To compare items, and to see that none is deleted in time.

    A Query asks DynamoDB itself whether an item meets the table's condition.
    """
    ttl = {"DescribeTimeToLive"} if rule.ttl else set[str]()
    return {"BatchGetItem", "Scan"} | ({"Query"} if rule.condition else set()) | ttl


# how


def _on_tables(sid: str, calls: Iterable[tuple[str, set[str]]]) -> Iterator[Allowed]:
    """One statement for all target tables with the same calls; several rules may write into one table."""
    of_table: dict[str, set[str]] = {}
    for table, actions in calls:
        of_table.setdefault(table, set()).update(actions)
    together: dict[tuple[str, ...], list[str]] = {}
    for table, found in of_table.items():
        if not found:
            continue
        together.setdefault(tuple(sorted(found)), []).append(TABLE + table)
    for number, (names, tables) in enumerate(together.items(), 1):
        yield Allowed(f"{sid}{number}", of("dynamodb", names), tuple(tables))


def _on_marks(names: Iterable[str], keys: Iterable[str]) -> Iterator[Allowed]:
    """On items of these partition keys alone: projects share the table."""
    parts: list[list[str]] = [[]]
    for key in keys:
        if sum(map(len, parts[-1])) + len(key) > MOST_KEYS:
            parts.append([])
        parts[-1].append(key)
    for number, some in enumerate(parts, 1):
        condition = ("ForAllValues:StringLike", "dynamodb:LeadingKeys", tuple(some))
        yield Allowed(f"Marks{number}", of("dynamodb", names), (_MARKS,), condition)


def _with(parts: list[Allowed], statement: Allowed, resource: str) -> list[Allowed]:
    """``parts`` and one resource more, in the last statement if that is the same one."""
    if parts and parts[-1].sid == statement.sid:
        return [*parts[:-1], parts[-1]._replace(resources=(*parts[-1].resources, resource))]
    return [*parts, statement._replace(resources=(resource,))]


def _document(statements: Iterable[Allowed]) -> Document:
    return {"Version": "2012-10-17", "Statement": [_statement(each) for each in statements]}


def _statement(allowed: Allowed) -> Document:
    made = {
        "Sid": allowed.sid,
        "Effect": "Allow",
        "Action": list(allowed.actions),
        "Resource": list(allowed.resources),
    }
    if allowed.condition is None:
        return made
    how, key, values = allowed.condition
    return {**made, "Condition": {how: {key: list(values)}}}


def _characters(statements: Iterable[Allowed]) -> int:
    longest = {name: "x" * length for name, length in _LONGEST.items()}
    return len(json.dumps(filled(_document(statements), longest), separators=(",", ":")))
