"""Who may do what with the tables that have a [[dataset]], and with a lake in S3. A lake on this machine needs no
right, so there ``convert``, ``query`` and ``train`` ask AWS nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from whimbrel.aws import catalog
from whimbrel.aws.allowed import BUCKET, LAKE, TABLE, WRITES_OBJECTS, Allowed, follows_imports, lists, of
from whimbrel.project import Project, Store

_READ = of("s3", ("GetObject",))


def lake_policies(project: Project) -> dict[str, list[Allowed]]:
    """By account, as ``policies`` has them."""
    of_tables = _of_tables(project) if project.lake.datasets else {}
    in_lake = _in_lake(project, project.lake.store) if project.lake.store else {}
    names = dict.fromkeys([*of_tables, *(("export", "convert", "query") if in_lake else ())])
    return {name: [*of_tables.get(name, ()), *in_lake.get(name, ())] for name in names}


def _of_tables(project: Project) -> dict[str, list[Allowed]]:
    exports = list(_exports(project))
    made = {"export": exports, "restore": list(_restores(project))}
    return {**made, "renew": exports} if project.predict.renewals else made


def _in_lake(project: Project, store: Store) -> dict[str, list[Allowed]]:
    exports, datasets = (f"{LAKE}/{store.prefix}/{each}/*" for each in ("exports", "datasets"))
    writes_exports = Allowed("Exports", WRITES_OBJECTS, (exports,))
    writes_datasets = Allowed("Datasets", WRITES_OBJECTS, (datasets,))
    reads_exports = Allowed("Exports", _READ, (exports,))
    listed, publishes = lists("List", LAKE, store.prefix), list(catalog.writes(project))
    return {
        "export": [writes_exports, listed],
        "convert": [reads_exports, writes_datasets, listed, *publishes],
        "query": [Allowed("Read", _READ, (exports, datasets)), listed, *catalog.asks(project)],
        "restore": [reads_exports, listed],
        "renew": [writes_exports, writes_datasets, listed, *publishes],
    }


def _exports(project: Project) -> Iterator[Allowed]:
    tables = _tables(project)
    yield Allowed("Scan", of("dynamodb", ("DescribeTable", "Scan")), tables)
    stream = ("DescribeStream", "GetRecords", "GetShardIterator")
    yield Allowed("Stream", of("dynamodb", stream), tuple(f"{each}/stream/*" for each in tables))
    if project.lake.export == "native":
        asks = ("DescribeContinuousBackups", "ExportTableToPointInTime")
        recovery = ("UpdateContinuousBackups",) if project.lake.recovery else ()
        yield Allowed("Ask", of("dynamodb", (*asks, *recovery)), tables)
        yield Allowed("Follow", of("dynamodb", ("DescribeExport",)), tuple(f"{each}/export/*" for each in tables))
        yield Allowed("Find", of("dynamodb", ("ListExports",)), ("*",))  # IAM takes no other resource for it
        # DynamoDB writes into the bucket in the name of whoever asks.
        assert project.lake.store
        written = f"{LAKE}/{project.lake.store.prefix}/exports/*"
        yield Allowed("DynamoDBWrites", of("s3", ("PutObjectAcl",)), (written,))


def _restores(project: Project) -> Iterator[Allowed]:
    """Into a table of the same name, by writes, or by an import where there is a bucket for its files."""
    calls = ("BatchWriteItem", "CreateTable", "DescribeTable", "Scan")
    tables, store = _tables(project), project.store
    yield Allowed("Restore", of("dynamodb", (*calls, *(("ImportTable",) if store else ()))), tables)
    if store:
        yield from follows_imports(sorted({each.table for each in project.lake.datasets}))
        yield Allowed("Files", WRITES_OBJECTS, (f"{BUCKET}/{store.prefix}/import/*",))
        yield lists("FilesList", BUCKET, f"{store.prefix}/import")


def _tables(project: Project) -> tuple[str, ...]:
    return tuple(TABLE + each for each in sorted({each.table for each in project.lake.datasets}))
