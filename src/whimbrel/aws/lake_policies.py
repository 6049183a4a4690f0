"""Who may do what with the tables that have a [[dataset]] or are in a [[silo]], and with a lake in S3. A
lake on this machine needs no right, so there ``convert``, ``query`` and ``train`` ask AWS nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from whimbrel.aws import catalog
from whimbrel.aws.allowed import BUCKET, LAKE, TABLE, WRITES_OBJECTS, Allowed, follows_imports, lists, of
from whimbrel.project import Project, Store

_READ = of("s3", ("GetObject",))


def lake_policies(project: Project) -> dict[str, list[Allowed]]:
    """By account, as ``policies`` has them."""
    of_tables = _of_tables(project)
    in_lake = _in_lake(project, project.lake.store) if project.lake.store else {}
    names = dict.fromkeys([*of_tables, *(("export", "convert", "query") if in_lake else ())])
    return {name: [*of_tables.get(name, ()), *in_lake.get(name, ())] for name in names}


def carried(project: Project) -> list[Allowed]:
    """What carries the tables of DynamoDB of silos: exports, and data sets of these."""
    if not (tables := sorted({table for silo in project.item_silos for table in silo.tables})):
        return []
    in_lake = _in_lake(project, project.lake.store)["renew"] if project.lake.store else []
    return [*_exports(project, tables), *in_lake]


def _of_tables(project: Project) -> dict[str, list[Allowed]]:
    datasets = {each.table for each in project.lake.datasets}
    tables = sorted(datasets | {table for silo in project.item_silos for table in silo.tables})
    if not tables:
        return {}
    made = {"export": list(_exports(project, tables))}
    if datasets:
        made["restore"] = list(_restores(project, sorted(datasets)))
    if project.predict.renewals:
        made["renew"] = list(_exports(project, sorted(datasets)))
    return made


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


def _exports(project: Project, named: Sequence[str]) -> Iterator[Allowed]:
    tables = tuple(TABLE + each for each in named)
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


def _restores(project: Project, named: Sequence[str]) -> Iterator[Allowed]:
    """Into a table of the same name, by writes, or by an import where there is a bucket for its files."""
    calls = ("BatchWriteItem", "CreateTable", "DescribeTable", "Scan")
    tables, store = tuple(TABLE + each for each in named), project.store
    yield Allowed("Restore", of("dynamodb", (*calls, *(("ImportTable",) if store else ()))), tables)
    if store:
        yield from follows_imports(list(named))
        yield Allowed("Files", WRITES_OBJECTS, (f"{BUCKET}/{store.prefix}/import/*",))
        yield lists("FilesList", BUCKET, f"{store.prefix}/import")
