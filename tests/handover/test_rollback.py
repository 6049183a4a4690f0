"""There and back, under an application that writes to whichever side is open; the judge is its own log."""

from __future__ import annotations

from tests.handover.both_sides import Site


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
