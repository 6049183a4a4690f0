"""There and back by the page alone, under an application that writes; the judge is the application's own log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.console.browser import Tab, chromium
from tests.console.running import Console, console
from tests.handover.both_sides import Site

pytest.importorskip("httptools", reason="the extra 'serve' is not installed")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


def opened(browser: Any, found: Console) -> Tab:
    tab = Tab(browser, found)
    tab.show("cutover")
    return tab


@pytest.mark.slow
@pytest.mark.parametrize("source_server", ["mariadb"], indirect=True)
def test_there_and_back_by_the_page(site: Site, browser: Any) -> None:
    work = site.work
    secrets = {"WHIMBREL_SOURCE_PASSWORD": work.source.password, **work.environment}
    with site.application(), console(work.folder, **secrets) as found:
        site.wait_for_writes("mysql")
        with work.running_until_it_ends("migrate") as migrating:
            tab = opened(browser, found)
            work.wait_for(work.in_phase("apply"), migrating)
            tab.wait("text=Verify now")
            tab.click("Verify now")
            tab.wait("text=Both sides hold the same.")
            tab.click("Make the plan")
            tab.wait(".plan li")
            assert tab.faults() == []
            tab.picture("cutover-plan")
            tab.click("Cut over …")
            tab.confirm("cut over")
            tab.wait("text=DynamoDB is open; following it back")
            assert migrating.wait(60) == 130, "it let the console take over"
        tab.wait(".side.open:has-text('DynamoDB')")
        tab.wait(".parts")
        assert "remains for" in tab.text()
        assert tab.faults() == []
        tab.picture("cutover-done")
        site.wait_for_writes("dynamodb")
        tab.click("Stop following DynamoDB back")
        tab.wait("text=Cutover done")
        assert site.step() == "OPEN"
        tab.click("Roll back …")
        tab.confirm("roll back")
        tab.wait("text=Rollback done")
        tab.wait(".side.open:has-text('Source')")
        tab.picture("rolled-back")
        site.wait_for_writes("mysql")
        assert tab.logged == []
        tab.close()
    assert site.step() == "FOLLOWING"
    assert site.at_mysql() == []


@pytest.mark.slow
@pytest.mark.parametrize("source_server", ["mariadb"], indirect=True)
def test_a_cutover_that_is_aborted_on_the_page_is_undone(site: Site, browser: Any) -> None:
    """It waits for a lock that a transaction keeps from it, for as long as writers may be paused."""
    work = site.work
    work.target_settings = work.target_settings.replace("max_stall", 'before = ["true"]\nmax_stall')
    work.write_project()
    work.run("migrate", "--until-caught-up")
    work.run("verify")
    secrets = {"WHIMBREL_SOURCE_PASSWORD": work.source.password, **work.environment}
    with console(work.folder, **secrets) as found, work.source.connect(work.database) as holder:
        tab = opened(browser, found)
        with holder.cursor() as cursor:
            cursor.execute("START TRANSACTION")
            cursor.execute("SELECT * FROM purchase")
            tab.click("Cut over …")
            tab.confirm("cut over")
            tab.wait("text=closing the source for writes")
            tab.click("Abort: undo everything")
            tab.wait("text=Cutover ended with an error")
        assert "undone: the application continues at the source" in tab.text()
        tab.close()
    assert site.step() == "FOLLOWING"


@pytest.mark.slow
@pytest.mark.parametrize("source_server", ["mariadb"], indirect=True)
def test_the_way_back_is_given_up_on_the_page(site: Site, browser: Any) -> None:
    work = site.work
    work.run("migrate", "--until-caught-up")
    work.run("verify")
    secrets = {"WHIMBREL_SOURCE_PASSWORD": work.source.password, **work.environment}
    with console(work.folder, **secrets) as found:
        tab = opened(browser, found)
        tab.click("Cut over …")
        tab.confirm("cut over")
        tab.wait("text=DynamoDB is open; following it back")
        steps = tab.text(".steps")
        assert steps.count(" ms") >= 3, "each step has its time"
        assert tab.page.query_selector("button:has-text('Finish'):not([disabled])") is None, "first it stops following"
        tab.click("Stop following DynamoDB back")
        tab.wait("text=Cutover done")
        tab.click("Finish …")
        tab.confirm("give up the way back")
        tab.wait("text=Finish done")
        tab.wait("text=It was given up by finish.")
        assert tab.page.query_selector("button:has-text('Roll back')") is None
        tab.picture("finished")
        tab.show("overview")
        tab.wait("text=the way back was given up")
        assert tab.logged == []
        tab.close()
    assert site.step() == "FINISHED"
