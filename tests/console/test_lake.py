"""The page of lake and models in a browser, with data: data sets, exports, SQL, two endpoints at work, renewals."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.console.browser import Tab, chromium
from tests.console.running import Console, console
from tests.console.test_pages import EVIL
from tests.lake.helper import compact, write_export, write_lines
from tests.lake.test_sql import run
from tests.prediction.serve.conftest import ENDPOINT, Running, serve_command
from tests.prediction.serve.models import model_file
from tests.prediction.serve.test_update import add_model
from whimbrel.lake.chain_file import home

pytest.importorskip("httptools", reason="the extra 'serve' is not installed")
pytest.importorskip("duckdb", reason="the extra 'lake' is not installed")
pytestmark = pytest.mark.slow

PROJECT = """
[target]
endpoint = "http://127.0.0.1:1"
region = "us-east-1"
[[model]]
name = "bank"
target = "y"
[[renewal]]
model = "bank"
"""
GATE = {
    "passed": False,
    "reason": "worse by log_loss (0.3120, was 0.2981)",
    "rows": 1_204,
    "figures": {"log_loss": {"present": 0.2981, "new": 0.312}, "auc": {"present": 0.91, "new": 0.9}},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("lake")
    (place / "whimbrel.toml").write_text(PROJECT)
    lines = [compact({"Item": {"id": {"N": str(number)}, "name": {"S": f"n{number}"}}}) for number in range(600)]
    write_lines(place / "people.json.gz", lines, packed=True)
    assert run(place / "whimbrel.toml", "convert", "people", "--from", str(place / "people.json.gz")).exit_code == 0
    exports = home(place / "lake", "people")
    items = [{"Item": {"id": {"N": "1"}}}] * 3
    write_export(exports, "01700000000000-aaaaaaaa", "2026-11-29T10:00:00Z", items)
    write_export(exports, "01700000000001-bbbbbbbb", "2026-11-30T10:00:00Z", [], since="2026-11-29T10:00:00Z")
    record = place / ".whimbrel" / "renew" / "bank" / "renewals.jsonl"
    record.parent.mkdir(parents=True)
    kept = {"run": "r1", "began": "2026-11-30T03:00:00Z", "ended": "2026-11-30T03:02:00Z", "outcome": "kept"}
    record.write_text(json.dumps(kept | {"results": {"train": {"version": "v7"}, "gate": GATE}}) + "\n")
    return place


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Running]:
    """Two endpoints, of which one is asked for a category that training never saw."""
    command = serve_command(folder, (folder / "whimbrel.toml").read_text(), "--model", str(model_file(folder)))
    running = Running(command, folder)
    try:
        client = running.client("sagemaker")
        other = add_model(running, model_file(folder, "v2", intercept=1.0))
        client.create_endpoint(EndpointName="Another", EndpointConfigName=other)
        for _ in range(40):
            running.invoke("34,astronaut,999,1.5")
        yield running
    finally:
        running.kill()


@pytest.fixture(scope="module")
def seen(folder: Path, server: Running) -> Iterator[Console]:
    with console(folder) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


def opened(browser: Any, seen: Console, **more: Any) -> Tab:
    tab = Tab(browser, seen, **more)
    tab.show("lake")
    tab.wait("[data-key=contents] tbody tr")
    return tab


def answer(tab: Tab, statement: str) -> str:
    """What the page says to it."""
    answers = tab.page.get_attribute("[data-key=sql]", "data-answers")
    tab.page.fill("#statement", statement)
    tab.click("Run")
    tab.until(f"document.querySelector('[data-key=sql]').dataset.answers > {answers}")
    return tab.text("[data-key=sql]")


def test_data_sets_and_exports_with_their_times_and_sizes(browser: Any, seen: Console) -> None:
    tab = opened(browser, seen)
    [row] = tab.page.query_selector_all("[aria-label='Data sets'] tbody tr")
    words = row.inner_text()
    assert "people (current) of people" in words
    assert "600" in words
    assert "kB" in words
    exports = [each.inner_text().split("\t") for each in tab.page.query_selector_all("[aria-label='Exports'] tbody tr")]
    assert [each[1] for each in exports] == ["incremental", "full"]
    assert exports[0][3] != exports[1][3] == ""
    assert exports[1][4:5] == ["3"]
    tab.close()


def test_the_sql_box_answers_as_a_table_and_as_a_chart_and_does_nothing_else(
    browser: Any, seen: Console, folder: Path
) -> None:
    tab = opened(browser, seen)
    tab.click("Run")
    tab.wait("text=20 rows")
    assert len(tab.page.query_selector_all("[aria-label=Result] tbody tr")) == 20
    assert "10 rows" in answer(tab, "SELECT left(name, 2) AS start, count(*) AS n FROM people GROUP BY ALL ORDER BY 1")
    tab.click("Show a chart")
    tab.wait(".bars progress")
    assert "n by start" in tab.text(".bars")
    assert len(tab.page.query_selector_all(".bars progress")) == 10
    assert tab.faults() == []
    tab.picture("lake-chart")
    before = sorted(folder.rglob("*.parquet"))
    for hostile in (f"COPY people TO '{folder}/x.csv'", f"WITH x AS (COPY people TO '{folder}/x.csv') SELECT 1", ""):
        assert "UserError" in answer(tab, hostile)
    other = answer(tab, "FROM '/etc/passwd'")
    assert "UserError" in other
    assert "root:" not in other
    assert sorted(folder.rglob("*.parquet")) == before
    assert not (folder / "x.csv").exists()
    found = answer(
        tab, 'SELECT {} AS "<b>x</b>", 9007199254740993 AS n, NULL AS none'.format("'" + EVIL.replace("'", "''") + "'")
    )
    assert EVIL in found
    assert "<b>x</b>" in found
    assert "9007199254740993" in found
    assert tab.page.query_selector("main img, main script") is None
    assert {url for url in tab.asked if not url.startswith(f"http://{seen.host}:{seen.port}/")} == set()
    assert [text for text in tab.logged if "409" not in text] == []
    tab.close()


def test_each_endpoint_has_its_name_on_each_panel(browser: Any, seen: Console, server: Running) -> None:
    tab = opened(browser, seen)
    tab.wait(f"article[data-key={ENDPOINT}]")
    for name in (ENDPOINT, "Another"):
        tab.wait(f"article[data-key={name}] .badge:has-text('InService')")
        titles = [each.inner_text() for each in tab.page.query_selector_all(f"article[data-key={name}] figcaption")]
        assert len(titles) == 2
        assert all(each.startswith(name) for each in titles)
    server.invoke("34,astronaut,999,1.5")
    tab.wait(f"text=/{ENDPOINT}, .*: column job had .* that training never saw: astronaut/")
    tab.wait(f"article[data-key={ENDPOINT}] .chart:has-text('queues included') b:has-text('ms')")

    def failed(route: Any) -> None:
        answer = route.fetch()
        found = answer.json()
        found["live"]["endpoints"][0]["reason"] = "it was rolled back: 5 of 9 calls failed"
        route.fulfill(response=answer, json=found)

    tab.page.route("**/ask/models", failed)
    tab.wait("text=The last update: it was rolled back: 5 of 9 calls failed")
    tab.click("Dismiss")
    tab.until("!document.querySelector('main').innerText.includes('The last update')")
    assert tab.faults() == []
    tab.picture("lake-endpoints")
    tab.close()


def test_renewals_show_what_the_gate_compared(browser: Any, seen: Console) -> None:
    tab = opened(browser, seen)
    tab.wait("[data-key=renewals] tbody tr")
    words = tab.text("[data-key=renewals]")
    for said in (
        "kept",
        "worse by log_loss",
        "log_loss: 0.2981 → 0.3120",
        "auc: 0.9100 → 0.9000",
        "1,204 held-out",
        "v7",
    ):
        assert said in words
    tab.close()


@pytest.mark.parametrize("settings", [{"dark": True}, {"width": 390}], ids=["dark", "phone"])
def test_with_data_it_is_for_everybody(browser: Any, seen: Console, settings: dict[str, Any]) -> None:
    tab = opened(browser, seen, **settings)
    tab.wait("[data-key=renewals] tbody tr")
    answer(tab, "SELECT * FROM people LIMIT 5")
    assert tab.faults() == []
    wide = tab.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0
    tab.picture(f"lake-{next(iter(settings))}")
    tab.close()


def test_a_server_that_has_ended_is_said(browser: Any, tmp_path: Path) -> None:
    running = Running(serve_command(tmp_path, PROJECT, "--model", str(model_file(tmp_path))), tmp_path)
    with console(tmp_path) as found:
        tab = Tab(browser, found)
        tab.show("lake")
        tab.wait(f"article[data-key={ENDPOINT}]")
        running.kill()
        began = time.monotonic()
        tab.wait("text=/No server runs|does not answer/")
        assert time.monotonic() - began < 20
        tab.close()


def test_one_query_at_a_time_which_ends_with_the_console(folder: Path) -> None:
    endless = "SELECT count(*) FROM range(100000000000) a, range(1000000) b"
    answers: list[Any] = []
    with console(folder) as found:
        found.open()

        def ask() -> None:
            with suppress(OSError, HTTPException):  # the console ends
                answers.append(found.post("ask/sql", sql=endless))

        asking = Thread(target=ask)
        asking.start()
        while (second := found.post("ask/sql", sql="SELECT 1")).status == 200:
            pass
        assert second.json()["message"] == "another query is being answered"
        began = time.monotonic()
    assert time.monotonic() - began < 20
    asking.join(20)
    assert not asking.is_alive()
