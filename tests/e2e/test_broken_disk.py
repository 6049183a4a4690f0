"""The disk fails, or is full, at any write of any file of the state folder: the run ends soon, names the file, and the
same command goes on when the disk is well again.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from demo.shop import CREATE
from tests.e2e import judge
from tests.e2e.work import GROUP, Work

ENDS_WITHIN = 30.0  # seconds
SOURCE = Path(__file__).parents[1] / "broken_disk.c"
UNALIGNED = """
shape = "group"
partition_key = { name = "productid" }
entry = { name = "${customerid}|${orderid}", value = "quantity" }
"""
ROWS, KEYS = 60, {"customerid", "orderid", "productid"}
CHANGES = [
    "INSERT INTO purchase SELECT 'd', orderid, productid, 5 FROM purchase WHERE customerid <> ''",
    "UPDATE purchase SET quantity = quantity + 1",
    "INSERT INTO purchase VALUES ('', '', 'p', 1)",
    "DELETE FROM purchase WHERE quantity % 5 = 0",
    "ALTER TABLE purchase ADD note INT",
    "UPDATE purchase SET quantity = 7 WHERE orderid = 'o11'",
]


@pytest.fixture(scope="session")
def broken_disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler to make a disk fail with")
    library = tmp_path_factory.mktemp("broken") / "broken_disk.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"], check=True)
    return library


def filled(work: Work, mapping: str) -> None:
    work.mapping = mapping + 'new_columns = "ignore"\n'
    work.source_settings = "chunk_rows = 10\nconnections = 2"
    work.write_project()
    lines = [f"('c{n % 7}', 'o{n}', 'p{n % 3}', {n})" for n in range(ROWS)]
    dead = "('', '', 'q', 1)"  # no item has an empty key
    work.source.execute(CREATE, f"INSERT INTO purchase VALUES {', '.join([*lines, dead])}", database=work.database)


def ended(work: Work, broken: dict[str, str], *arguments: str) -> tuple[int, str]:
    """The exit code and what was said by a command on such a disk; it must not take long."""
    work.environment = broken
    process = work.start(*arguments)
    work.environment = {}
    try:
        out, err = process.communicate(timeout=ENDS_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        raise AssertionError(f"it did not end: {process.communicate()}") from None
    return process.returncode, out + err


def ends_well_or_by_name(work: Work, broken: dict[str, str]) -> bool:
    """Whether it was refused; some files are not written so often."""
    code, said = ended(work, broken, "migrate", "--until-caught-up")
    assert "Traceback" not in said, said
    if code == 3:
        assert os.strerror(int(broken["BROKEN_ERRNO"])) in said, said
        assert broken["BROKEN_PATH"].rstrip("/") in said, said
    else:
        assert code in (0, 4), said
    return code == 3


PLACES = {
    "/export/": (1, 3, 6, 20),
    "plan.jsonl": (1, 2, 8, 9, 14, 16),
    ".zst": (1, 2, 3, 7),
    "/log/": (1, 2, 4, 6, 9),
    "/log/durable": (1, 2, 3, 4),
    "/spill": (1,),
    "checkpoint.json": (1, 2, 3, 5, 8),
    "dead.jsonl": (1, 2),
    "tables.jsonl": (1, 2),
}
FAST = {("plan.jsonl", 8), (".zst", 2), ("/log/durable", 3), ("dead.jsonl", 1)}


@pytest.mark.parametrize(
    ("place", "first"),
    [
        pytest.param(place, first, marks=() if (place, first) in FAST else pytest.mark.slow)
        for place, firsts in PLACES.items()
        for first in firsts
    ],
)
def test_it_ends_and_names_the_file(work: Work, broken_disk: Path, place: str, first: int) -> None:
    filled(work, UNALIGNED if place == "/spill" else GROUP)
    broken = {
        "LD_PRELOAD": str(broken_disk),
        "BROKEN_PATH": place,
        "BROKEN_FROM": str(first),
        "BROKEN_ERRNO": str((errno.EIO, errno.ENOSPC)[first % 2]),
    }
    dead = 0 if place == "/spill" else 4
    refused = ends_well_or_by_name(work, broken)
    if refused:
        work.call("migrate", "--until-caught-up", code=dead)
    work.source.execute(*CHANGES, database=work.database)
    refused = ends_well_or_by_name(work, broken) or refused
    if refused:
        work.call("migrate", "--until-caught-up", code=dead)
    assert refused
    assert_equal(work)


def assert_equal(work: Work) -> None:
    rows = work.source.execute("SELECT customerid, orderid, productid, quantity FROM purchase", database=work.database)
    if UNALIGNED not in work.mapping:
        items = judge.items(work.endpoint, work.target, "customerid", "orderid")
        found = {(*key, name, item[name]) for key, item in items.items() for name in item.keys() - KEYS}
        rows = tuple(row for row in rows if row[0])
    else:
        items = judge.items(work.endpoint, work.target, "productid")
        found = {(*name.split("|"), *key, item[name]) for key, item in items.items() for name in item.keys() - KEYS}
    assert found == set(rows)
