"""``[snapshot]`` and ``[load]``: where the snapshot's files are kept, and what makes items of them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from whimbrel.project.section import Section

LOADERS = ("process", "import", "spark")
SCHEME = "s3://"
MOST_PREFIX = 400  # characters: names below it have up to 500, and a key of S3 1,024
_MUST_BE = f"must be s3://BUCKET/PREFIX, the prefix of up to {MOST_PREFIX} letters, digits and -_./="
_OF_TABLES = ("s3tables", "--table-s3")
_OF_FOLDERS = "--x-s3"  # S3 Express


@dataclass(frozen=True, slots=True)
class Store:
    """A bucket of S3 and a prefix in it, without slashes at its ends. ``endpoint`` is a VPC endpoint's or a stand-in's,
    "" for AWS.
    """

    bucket: str
    prefix: str
    endpoint: str = ""

    @property
    def url(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.prefix}"


def read_store(top: Section) -> Store | None:
    """None where the snapshot's files are in the state folder."""
    section = top.section("snapshot")
    url, endpoint = section.string("store", ""), section.address("endpoint")
    store = store_of(url, endpoint)
    if url and store is None:
        section.fault("store", why_not(url))
    if endpoint and not url:
        section.fault("endpoint", "has no effect without snapshot.store")
    section.finish()
    return store


def read_loader(top: Section, store: Store | None) -> str:
    """One of LOADERS."""
    section = top.section("load")
    engine = section.one_of("engine", LOADERS)
    if engine == "import" and store is None:
        section.fault("engine", '"import" needs snapshot.store: DynamoDB imports from a bucket')
    section.finish()
    return engine


def store_of(url: str, endpoint: str) -> Store | None:
    """None for what is not a bucket and a prefix. That is part of names that are shown, listed and put into policies:
    nothing in it needs quoting.
    """
    if is_of_tables(url) or _OF_FOLDERS in url:
        return None
    found = re.fullmatch(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/([\w.=-]+(?:/[\w.=-]+)*)/?", url, re.ASCII)
    if not found or len(found[2]) > MOST_PREFIX or any(part in (".", "..") for part in found[2].split("/")):
        return None
    return Store(found[1], found[2], endpoint)


def is_of_tables(place: str) -> bool:
    """Whether it is a bucket or a catalog of S3 Tables."""
    return any(each in place for each in _OF_TABLES)


def why_not(url: str) -> str:
    """What is wrong with an address that ``store_of`` does not take."""
    if is_of_tables(url):
        return (
            f"cannot be in S3 Tables, as {url!r} is: a table bucket has no files but those of its own tables. "
            'Name a general purpose bucket; publish = "iceberg" makes tables of the files there'
        )
    if _OF_FOLDERS in url:
        return f"cannot be in a directory bucket, as {url!r} is: what is written there was not tried. Name another one"
    return f"{_MUST_BE}, not {url!r}"
