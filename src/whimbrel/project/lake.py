"""The ``[lake]`` and ``[[dataset]]`` parts of the project file: exports, data sets and SQL over them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from whimbrel.private import OWNER, READERS
from whimbrel.project.section import Section
from whimbrel.project.store import SCHEME, Store, is_of_tables, store_of, why_not

CACHE = "lake-cache"
EXPORTERS = ("scan", "native")  # by whimbrel, or by DynamoDB itself
ICEBERG = "iceberg"
# A name that all engines take as it is, without quotes.
_IN_A_CATALOG = re.compile(r"[a-z][a-z0-9_]{0,127}")
_MUST_BE = "must be of small letters, digits and _, and begin with a letter"


@dataclass(frozen=True, slots=True)
class Dataset:
    """A DynamoDB table as a typed data set. ``name`` is its name in SQL, the table's own unless given.

    ``columns`` are the pinned types by attribute, written by ``whimbrel convert``; ``key`` names the table's key
    attributes where no export says them; ``flatten`` makes a column of each leaf of a map.
    """

    table: str
    name: str
    key: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    flatten: bool = False
    publish: str = ""
    columns: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lake:
    """Where exports and data sets lie, how gently tables are read, and what is kept.

    ``capacity_share`` is the part of a table's read capacity that an export may use, ``max_read_units`` a cap per
    second whatever the share comes to (0: none). ``keep`` data sets and full exports are kept, and data sets of the
    last ``keep_days``. ``locations`` maps ``s3://`` addresses of CREATE EXTERNAL TABLE to folders. ``s3_endpoint`` is
    an S3 other than that of AWS. ``readable_by`` is one of private.READERS.

    ``store`` is where a lake in S3 lies. Then ``folder`` has, on this machine, what is being written and copies of what
    was read, of which ``cache_gb`` (10**9 bytes) at most are data sets.

    ``export`` is one of EXPORTERS. ``recovery``: a native export switches point-in-time recovery on where it is off.
    ``bucket_owner`` is the account that has the bucket, "" for the table's own.

    ``database`` is where a catalog has the Iceberg tables: Glue, at ``glue_endpoint`` unless it is AWS's own, or a file
    in ``folder``. ``workgroup`` is Athena's, at ``athena_endpoint`` unless it is AWS's own.
    """

    folder: str = "lake"
    store: Store | None = None
    cache_gb: float = 20.0
    export: str = "scan"
    recovery: bool = False
    bucket_owner: str = ""
    database: str = "whimbrel"
    glue_endpoint: str = ""
    workgroup: str = "whimbrel"
    athena_endpoint: str = ""
    max_read_units: float = 0.0
    capacity_share: float = 0.5
    segments: int = 0  # of the scan; 0: by the table's size
    consistent: bool = False
    keep: int = 5
    keep_days: float = 0.0
    keep_exports: int = 3
    locations: dict[str, str] = field(default_factory=dict)
    s3_endpoint: str = ""
    readable_by: str = OWNER
    datasets: tuple[Dataset, ...] = ()


def read_lake(top: Section) -> Lake:
    """Read both parts; what is wrong goes to the section's faults."""
    section = top.section("lake")
    default = Lake()
    folder, store = _place(section, default)
    share = section.number("capacity_share", default.capacity_share)
    if not 0 < share <= 1:
        section.fault("capacity_share", f"must be more than 0 and no more than 1, not {share}")
    lake = Lake(
        folder=folder,
        store=store,
        cache_gb=section.number("cache_gb", default.cache_gb),
        export=section.one_of("export", EXPORTERS),
        recovery=section.flag("recovery", default.recovery),
        bucket_owner=section.string("bucket_owner", default.bucket_owner),
        database=section.string("database", default.database),
        glue_endpoint=section.address("glue_endpoint"),
        workgroup=section.string("workgroup", default.workgroup),
        athena_endpoint=section.address("athena_endpoint"),
        max_read_units=section.number("max_read_units", default.max_read_units),
        capacity_share=share,
        segments=section.integer("segments", default.segments),
        consistent=section.flag("consistent", default.consistent),
        keep=section.integer("keep", default.keep, least=1),
        keep_days=section.number("keep_days", default.keep_days),
        keep_exports=section.integer("keep_exports", default.keep_exports, least=1),
        locations=section.string_map("locations"),
        s3_endpoint=store.endpoint if store else section.address("s3_endpoint"),
        readable_by=section.one_of("readable_by", READERS),
        datasets=tuple(_read_dataset(each) for each in top.optional_sections("dataset")),
    )
    if lake.export == "native" and store is None:
        section.fault("export", '"native" needs folder = "s3://BUCKET/PREFIX": DynamoDB exports into a bucket')
    if lake.bucket_owner and lake.export != "native":
        section.fault("bucket_owner", 'has no effect without export = "native"')
    if lake.bucket_owner and not re.fullmatch("[0-9]{12}", lake.bucket_owner):
        section.fault("bucket_owner", f"must be the 12 digits of an account, not {lake.bucket_owner!r}")
    if not _IN_A_CATALOG.fullmatch(lake.database):
        section.fault("database", _why_no_database(lake.database))
    section.finish()
    names = [each.name.lower() for each in lake.datasets]
    for name in sorted({name for name in names if names.count(name) > 1}):
        top.fault("dataset", f"the name {name!r} is used in more than one [[dataset]]")
    return lake


def _place(section: Section, default: Lake) -> tuple[str, Store | None]:
    """The lake's folder on this machine, and its place in S3."""
    folder, cache = section.string("folder", default.folder), section.string("cache", "")
    if not folder.startswith(SCHEME) and not is_of_tables(folder):
        if cache or section.number("cache_gb", 0):
            section.fault("cache" if cache else "cache_gb", "has no effect unless folder is in S3")
        return folder, None
    store = store_of(folder, section.address("s3_endpoint"))
    if store is None:
        section.fault("folder", why_not(folder))
    return cache or CACHE, store


def _why_no_database(name: str) -> str:
    return why_not(name) if is_of_tables(name) else f"{_MUST_BE}, not {name!r}"


def _read_dataset(section: Section) -> Dataset:
    table = section.required("table")
    dataset = Dataset(
        table=table,
        name=section.string("name", table),
        key=tuple(section.strings("key")),
        exclude=tuple(section.strings("exclude")),
        flatten=section.flag("flatten", False),
        publish=section.one_of("publish", ("", ICEBERG)),
        columns=section.string_map("columns"),
    )
    if dataset.publish and not _IN_A_CATALOG.fullmatch(dataset.name):
        section.fault("name", f"{_MUST_BE}, for an Iceberg table to have it: not {dataset.name!r}")
    section.finish()
    return dataset
