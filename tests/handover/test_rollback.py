"""There and back, under an application that writes to whichever side is open; the judge is its own log."""

from __future__ import annotations

import os
import statistics

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
    assert site.at_dynamodb() == []
    assert site.said("rollback")["step"] == "FOLLOWING"
    assert site.at_mysql() == []
    assert work.source.execute("SELECT note FROM customer WHERE customerid = 'first'", database=work.database) == (
        ("a note",),
    )
    print(f"{work.source.name}: stalls {there['stall_ms']}, {back['stall_ms']}, {again['stall_ms']} ms")


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_many_in_a_row(site: Site) -> None:
    """``WHIMBREL_CUTOVERS`` times there and back; nothing that was acknowledged is lost, and the stalls are printed."""
    there, back = [], []
    with site.application():
        site.wait_for_writes("mysql")
        for _ in range(int(os.environ.get("WHIMBREL_CUTOVERS", "50"))):
            site.work.run("migrate", "--until-caught-up")
            site.work.run("verify")
            there.append(site.said("cutover", "--until-open")["stall_ms"])
            site.wait_for_writes("dynamodb", 20)
            back.append(site.said("rollback")["stall_ms"])
            site.wait_for_writes("mysql", 20)
    assert site.at_mysql() == []
    for what, stalls in (("cutover", there), ("rollback", back)):
        most, middle = max(stalls), statistics.median(stalls)
        print(f"{site.work.source.name}: {len(stalls)} times {what}: p50 {middle:.0f} ms, most {most:.0f} ms")
    print(f"{site.notes.acknowledged():,} writes acknowledged")
