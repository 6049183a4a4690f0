"""There and back, under an application that writes to whichever side is open; the judge is its own log."""

from __future__ import annotations

import math
import os
import statistics
from dataclasses import replace

import pytest

from tests.handover.both_sides import Site


@pytest.mark.parametrize("source_server", ["mariadb", pytest.param("mysql", marks=pytest.mark.slow)], indirect=True)
def test_there_and_back_and_there_again(site: Site) -> None:
    work = site.work
    work.source.execute("INSERT INTO customer VALUES ('first', 'First', 1, 'a note')", database=work.database)
    with site.application():
        site.wait_for_writes("mysql")
        work.run("migrate", "--until-caught-up")
        work.run("verify")
        there = site.said("cutover", "--until-open")
        site.wait_for_writes("dynamodb")
        with site.following():
            site.wait_for_writes("dynamodb")
        back = site.said("rollback")
        site.wait_for_writes("mysql")
        work.run("migrate", "--until-caught-up")
        work.run("verify")
        again = site.said("cutover", "--until-open")
        site.wait_for_writes("dynamodb")
    assert (there["side"], back["side"], again["side"]) == ("dynamodb", "mysql", "dynamodb")
    assert list(back["stall_parts"]) == ["tell", "wait", "drain", "reconcile", "verify", "decide", "open"]
    assert sum(back["stall_parts"].values()) == pytest.approx(back["stall_ms"], abs=1)
    assert site.at_dynamodb() == []
    assert site.said("rollback")["step"] == "FOLLOWING"
    assert site.at_mysql() == []
    assert work.source.execute("SELECT note FROM customer WHERE customerid = 'first'", database=work.database) == (
        ("a note",),
    )
    print(f"{work.source.name}: stalls {there['stall_ms']}, {back['stall_ms']}, {again['stall_ms']} ms")


@pytest.mark.parametrize("source_server", ["mariadb"], indirect=True)
def test_rows_that_refer_to_a_row_which_dynamodb_deleted_are_told(site: Site) -> None:
    """DynamoDB has no foreign keys, and the way back looks at none."""
    work = site.work
    work.source.execute(
        "INSERT INTO customer VALUES ('a', 'A', 1, ''), ('b', 'B', 1, '')",
        "CREATE TABLE visit LIKE customer",
        "ALTER TABLE visit ADD CONSTRAINT by_customer FOREIGN KEY (customerid) REFERENCES customer (customerid)",
        "INSERT INTO visit SELECT * FROM customer",
        database=work.database,
    )
    work.run("migrate", "--until-caught-up")
    work.run("verify")
    site.said("cutover", "--until-open")
    site.client.delete_item(TableName=site.settings.customer, Key={"customerid": {"S": "b"}})
    back = site.said("rollback")
    visit, customer = f"{work.database}.visit", f"{work.database}.customer"
    assert back["without_parents"] == [{"table": visit, "name": "by_customer", "parent": customer, "rows": 1}]
    assert work.source.execute("SELECT customerid FROM customer", database=work.database) == (("a",),)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_many_in_a_row(site: Site) -> None:
    """``WHIMBREL_CUTOVERS`` times there and back; nothing that was acknowledged is lost, and the stalls are printed.

    The application writes as fast as it can, up to 1,000 writes a second: at the source it reaches them, at the
    stand-in of DynamoDB it does not on two cores, as that takes a millisecond of CPU for each write.
    """
    there: list[float] = []
    back: list[float] = []
    parts: dict[str, dict[str, list[float]]] = {"cutover": {}, "rollback": {}}
    site.settings = replace(site.settings, threads=16, rate=1000.0)
    with site.application():
        site.wait_for_writes("mysql")
        for _ in range(int(os.environ.get("WHIMBREL_CUTOVERS", "50"))):
            site.work.run("migrate", "--until-caught-up")
            site.work.run("verify")
            for what, stalls in (("cutover", there), ("rollback", back)):
                said = site.said(what, *(["--until-open"] if what == "cutover" else []))
                stalls.append(said["stall_ms"])
                for part, took in said["stall_parts"].items():
                    parts[what].setdefault(part, []).append(took)
                site.wait_for_writes("dynamodb" if what == "cutover" else "mysql", 500)
                print(f"{what} {len(stalls)}: {said['stall_ms']} ms {said['stall_parts']}", flush=True)
    assert site.at_mysql() == []
    for what, stalls in (("cutover", there), ("rollback", back)):
        most, middle = max(stalls), statistics.median(stalls)
        p99 = sorted(stalls)[max(0, math.ceil(len(stalls) * 0.99) - 1)]
        print(
            f"{site.work.source.name}: {len(stalls)} times {what}: p50 {middle:.0f}, p99 {p99:.0f}, most {most:.0f} ms"
        )
    for what, of in parts.items():
        print(f"{what}:", ", ".join(f"{part} {statistics.median(took):.0f}" for part, took in of.items()), "(p50, ms)")
    notes = site.notes
    times = [at for at, _ in notes.taken]
    print(f"{notes.acknowledged():,} writes acknowledged in {max(times) - min(times):.0f} s")
