"""The console over real servers: one key on both sides, what was found to differ, dead letters, and failures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from demo.shop import CREATE
from tests.console.browser import Tab, chromium
from tests.console.running import Console, console
from tests.e2e.waits import gone
from tests.e2e.work import Work

pytest.importorskip("httptools", reason="the extra 'serve' is not installed")

ROWS = "INSERT INTO purchase VALUES ('c1', 'o1', 'tea', 2), ('c1', 'o1', 'cup', 1), ('c2', 'o2', 'tea', 5)"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture
def shop(work: Work) -> Work:
    work.source.execute(CREATE, ROWS, database=work.database)
    return work


@pytest.fixture
def migrated(shop: Work) -> Work:
    shop.run("migrate", "--until-caught-up")
    return shop


@pytest.fixture
def seen(migrated: Work) -> Iterator[Console]:
    with console(migrated.folder, WHIMBREL_SOURCE_PASSWORD=migrated.source.password) as found:
        yield found


def look_up(tab: Tab, **key: str) -> None:
    tab.show("data")
    if tab.page.query_selector("text=Choose a key"):
        tab.click("Choose a key")
    for name, value in key.items():
        tab.page.fill(f"[name=key-{name}]", value)
    tab.click("Look up")


@pytest.mark.slow
def test_one_key_on_both_sides(migrated: Work, seen: Console, browser: Any) -> None:
    tab = Tab(browser, seen)
    look_up(tab, customerid="c1", orderid="o1", productid="tea")
    tab.wait("text=Both sides agree.")
    assert "Source: 2 rows" in tab.text(".found")
    key = {"customerid": {"S": "c1"}, "orderid": {"S": "o1"}}
    change = {"tea": {"Value": {"N": "7"}, "Action": "PUT"}}
    migrated.endpoint.client().update_item(TableName=migrated.target, Key=key, AttributeUpdates=change)
    tab.click("Look up")
    tab.wait("text=They differ.")
    assert tab.text(".differs th").startswith("tea")
    migrated.source.execute("UPDATE purchase SET quantity = 3 WHERE productid = 'tea'", database=migrated.database)
    migrated.run("capture", "--until-caught-up")
    tab.click("Look up")
    tab.wait("text=quantity: 2 → 3")
    tab.page.fill("[name=key-customerid]", "nobody")
    tab.click("Look up")
    tab.wait("text=Source: 0 rows")
    assert tab.logged == []
    tab.close()


def test_what_a_verification_found_is_shown_side_by_side(migrated: Work, seen: Console, browser: Any) -> None:
    client = migrated.endpoint.client()
    client.put_item(
        TableName=migrated.target, Item={"customerid": {"S": "c2"}, "orderid": {"S": "o2"}, "tea": {"N": "6"}}
    )
    migrated.run("verify", code=5)
    tab = Tab(browser, seen)
    tab.wait("text=1 item differs")
    tab.show("data")
    tab.wait(".difference")
    assert "changed" in tab.text(".difference")
    assert [each.inner_text() for each in tab.page.query_selector_all(".differs td")] == ['{"N":"5"}', '{"N":"6"}']
    tab.close()


@pytest.mark.slow
def test_dead_letters_are_retried_from_the_page(shop: Work, browser: Any) -> None:
    shop.source.execute("INSERT INTO purchase VALUES ('', 'o9', 'tea', 1)", database=shop.database)
    shop.run("migrate", "--until-caught-up", code=4)
    with console(shop.folder, WHIMBREL_SOURCE_PASSWORD=shop.source.password) as found:
        tab = Tab(browser, found)
        tab.wait("text=1 dead letter: a row that could not become an item")
        tab.show("data")
        tab.wait(".letters li")
        assert "empty" in tab.text(".letters li")
        shop.source.execute("UPDATE purchase SET customerid = 'c9' WHERE customerid = ''", database=shop.database)
        tab.click("Retry all")
        # The row has another key now, which is a change of its own: migrate writes it.
        tab.wait("text=0 items written, 0 dead letters left.")
        tab.wait("text=Every row became an item.")
        tab.close()


@pytest.mark.slow
def test_the_mapping_is_checked_and_previewed(migrated: Work, seen: Console, browser: Any) -> None:
    tab = Tab(browser, seen)
    tab.show("mapping")
    tab.wait(".previewed .pairs")
    assert '{"N":"2"}' in tab.text(".previewed")
    text = tab.page.input_value("#toml")
    tab.page.fill("#toml", text.replace('entry = { name = "${productid}"', 'entry = { name = "p-${productid}"'))
    tab.wait("text=p-tea")
    tab.page.fill("#toml", text.replace('value = "quantity"', 'value = "quantiti"'))
    tab.wait("#toml-faults .findings li")
    assert "quantiti" in tab.text("#toml-faults")
    tab.page.fill(".fields input", "performance_schema")
    tab.page.click("button:has-text('Check'):not([disabled])")
    tab.wait("text=/Ready: no errors|Not ready/")
    assert tab.faults() == []
    tab.picture("mapping")
    tab.close()


@pytest.mark.slow
def test_a_run_whose_source_goes_away_and_comes_back(migrated: Work, seen: Console, browser: Any) -> None:
    tab = Tab(browser, seen)
    with migrated.running("migrate"):
        tab.wait("text=Following the source")
        with gone(migrated.source):
            tab.wait("text=The source does not answer")
            tab.picture("source-gone")
        tab.wait(".verdict.ok")
    tab.wait("text=Nothing is running")
    tab.close()


@pytest.mark.slow
def test_a_run_that_is_killed_or_ends_by_an_error(migrated: Work, seen: Console, browser: Any) -> None:
    tab = Tab(browser, seen)
    with migrated.running_until_it_ends("migrate") as process:
        tab.wait("text=Following the source")
        process.kill()
        tab.wait("text=Nothing is running")
        tab.wait("text=Start it again")
    with migrated.running_until_it_ends("migrate") as process:
        tab.wait("text=Following the source")
        migrated.source.execute("TRUNCATE purchase", database=migrated.database)
        assert process.wait(60) == 3
        tab.wait("text=The run ended by an error")
        assert "TRUNCATE" in tab.text(".task.bad")
    tab.close()


@pytest.mark.slow
def test_a_whole_migration_as_it_is_seen(work: Work, browser: Any, make_rows: Callable[[int], None]) -> None:
    work.source_settings, work.target_settings = "chunk_rows = 200\nmax_rows_per_second = 2000", "max_write_units = 400"
    work.write_project()
    make_rows(8_000)
    with console(work.folder, WHIMBREL_SOURCE_PASSWORD=work.source.password) as found:
        tab = Tab(browser, found)
        tab.wait("text=Nothing has begun yet")
        with work.running("migrate") as process:
            for words in ("Exporting the tables", "Loading items", "Following the source"):
                tab.wait(f"text={words}")
                tab.picture(f"migration-{words.split()[0].lower()}")
            work.wait_for(work.in_phase("apply"), process)
            assert "8,000" in tab.text("tbody tr")
            assert tab.faults() == []
        tab.close()


@pytest.fixture
def make_rows(work: Work) -> Callable[[int], None]:
    def make(count: int) -> None:
        work.source.execute(CREATE, database=work.database)
        rows = [f"('c{number}', 'o', 'p', {number % 90})" for number in range(count)]
        for start in range(0, count, 1_000):
            values = ", ".join(rows[start : start + 1_000])
            work.source.execute(f"INSERT INTO purchase VALUES {values}", database=work.database)

    return make
