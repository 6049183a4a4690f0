"""Every page in a browser, over state folders of every kind: what it says, who can use it, and what it lets happen."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.console.browser import Tab, chromium
from tests.console.made import START, Made, figures
from tests.console.running import Console, console
from tests.console.test_overview import SILOS
from whimbrel import checkpoint
from whimbrel.checkpoint import Checkpoint, TableProgress
from whimbrel.migration.live import write_status

pytest.importorskip("httptools", reason="the extra 'serve' is not installed")

PAGES = ("overview", "cutover", "data", "mapping", "lake")
EVIL = "<img src=x onerror=alert(1)>\"'`${alert(1)}</script><script>alert(1)</script>"
DIFFERENCE = {
    "table": "shop.customer",
    "kind": "changed",
    "key": {"id": {"N": "3"}},
    "reason": EVIL,
    "expected": {"id": {"N": "3"}, EVIL: {"S": EVIL}},
    "found": {"id": {"N": "3"}, EVIL: {"S": "Anne"}},
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """Names, values, reasons and events that are HTML; values of a megabyte."""
    made = Made(tmp_path_factory.mktemp("evil"), (f"shop.{EVIL[:4]}", "shop.customer"))
    made.checkpoint()
    made.events(150, ("error", EVIL), ("warning", "x" * 1_000_000))
    made.letters(60, EVIL)
    made.letters(1, "y" * 1_000_000)
    made.verification(DIFFERENCE, DIFFERENCE | {"found": {"id": {"N": "3"}, "long": {"S": "z" * 1_000_000}}})
    with console(made.folder) as found:
        yield found


@pytest.fixture
def open_tab(browser: Any) -> Iterator[Callable[..., Tab]]:
    tabs: list[Tab] = []

    def make(found: Console, **more: Any) -> Tab:
        tabs.append(Tab(browser, found, **more))
        return tabs[-1]

    yield make
    for tab in tabs:
        tab.close()


def test_the_browser_leaves_the_tests_thread_without_a_loop(browser: Any) -> None:
    assert browser.is_connected()
    asyncio.run(asyncio.sleep(0))


def test_what_is_html_is_shown_as_text_and_nothing_is_asked_elsewhere(
    evil: Console, open_tab: Callable[..., Tab]
) -> None:
    tab = open_tab(evil)
    for name in PAGES:
        tab.show(name)
        assert tab.page.query_selector("main img, main script") is None
    tab.show("data")
    tab.wait(".letters li")
    tab.page.click(".letters li summary")
    assert EVIL in tab.text(".letters li")
    tab.wait(".difference")
    assert EVIL in tab.text(".difference")
    tab.show("overview")
    assert EVIL in tab.text(".events .error")
    assert len(tab.text()) < 200_000, "a value of a megabyte is cut"
    assert {url for url in tab.asked if not url.startswith(f"http://{evil.host}:{evil.port}/")} == set()
    assert [text for text in tab.logged if "409" not in text] == []


SETTINGS = [
    pytest.param({}, id="light"),
    pytest.param({"dark": True}, id="dark", marks=pytest.mark.slow),
    pytest.param({"width": 390}, id="phone", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_everybody_can_use_each_page(evil: Console, open_tab: Callable[..., Tab], settings: dict[str, Any]) -> None:
    tab = open_tab(evil, **settings)
    for name in PAGES:
        tab.show(name)
        tab.wait(f"nav a[href='#{name}'][aria-current]")
        assert tab.faults() == [], name
        wide = tab.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{name} is wider than the window"


def test_it_can_be_used_by_keys_alone(evil: Console, open_tab: Callable[..., Tab]) -> None:
    tab = open_tab(evil)
    keys = tab.page.keyboard
    keys.press("Tab")
    assert tab.page.evaluate("document.activeElement.className") == "skip"
    for _ in range(2):
        keys.press("Tab")
    assert tab.page.evaluate("document.activeElement.hash") == "#cutover"
    keys.press("Enter")
    tab.wait("text=Make the plan")
    assert tab.page.evaluate("document.activeElement.id") == "main", "who hears the page is told of the new one"
    tab.page.focus("button:has-text('Cut over')")
    keys.press("Enter")
    tab.wait("#dialog[open]")
    assert tab.page.evaluate("document.activeElement.id") == "words"
    assert tab.page.is_disabled("#dialog-go")
    keys.type("cut ove")
    assert tab.page.is_disabled("#dialog-go")
    keys.type("r")
    assert not tab.page.is_disabled("#dialog-go")
    assert tab.faults() == []
    keys.press("Escape")
    assert tab.page.query_selector("#dialog[open]") is None


def test_a_change_comes_without_a_flicker(tmp_path: Path, open_tab: Callable[..., Tab]) -> None:
    """What is on the page stays the same element: so focus, selection and scroll places stay."""
    made = Made(tmp_path)
    made.checkpoint()
    made.running(lag_seconds=2.0)
    with console(tmp_path) as found:
        tab = open_tab(found)
        tab.wait("text=DynamoDB is 2.0 s behind.")
        tab.page.evaluate("document.querySelectorAll('tbody tr, .chart, .phases li').forEach(each => each.kept = true)")
        tab.page.focus(".choice button")
        made.running(lag_seconds=3.0)
        made.events(0, ("info", "Something new."))
        tab.wait("text=DynamoDB is 3.0 s behind.")
        tab.wait("text=Something new.")
        kept = "[...document.querySelectorAll('tbody tr, .chart, .phases li')].every(each => each.kept)"
        assert tab.page.evaluate(kept)
        assert tab.page.evaluate("document.activeElement.dataset.do") == "hours"


@pytest.mark.slow
def test_a_console_that_ends_is_said_and_a_new_one_is_asked_for(tmp_path: Path, open_tab: Callable[..., Tab]) -> None:
    Made(tmp_path).checkpoint()
    with console(tmp_path) as found:
        tab = open_tab(found)
        tab.wait("text=Nothing is running")
    tab.wait("text=connecting …")
    tab.close()


def test_a_damaged_state_folder_is_named_and_comes_back(tmp_path: Path, open_tab: Callable[..., Tab]) -> None:
    made = Made(tmp_path)
    made.checkpoint()
    whole = (made.state / "checkpoint.json").read_bytes()
    with console(tmp_path) as found:
        tab = open_tab(found)
        tab.wait("text=Nothing is running")
        (made.state / "checkpoint.json").write_bytes(whole[:50])
        tab.wait("text=The state folder cannot be read")
        assert "StateError" in tab.text()
        assert "Traceback" not in tab.text()
        (made.state / "checkpoint.json").write_bytes(whole)
        tab.wait("text=Nothing is running")


@pytest.mark.slow
def test_many_tables_and_events_do_not_stall_it(tmp_path: Path, open_tab: Callable[..., Tab]) -> None:
    made = Made(tmp_path, tuple(f"shop.table_{number}" for number in range(500)))
    made.checkpoint()
    made.running()
    made.events(10_000)
    with console(tmp_path) as found:
        tab = open_tab(found)
        tab.wait("text=500 tables")
        tab.click("Show all 500")
        tab.until("document.querySelectorAll('tbody tr').length === 500")
        for _ in range(10):
            before = tab.page.evaluate("document.querySelectorAll('.events li').length")
            tab.click("Show older ones")
            tab.until(f"document.querySelectorAll('.events li').length > {before}")
        began = tab.cpu_seconds()
        for lag in (3.1, 3.2, 3.3, 3.4, 3.5):
            made.running(lag_seconds=lag)
            tab.wait(f"text=DynamoDB is {lag} s behind.")
        assert (tab.cpu_seconds() - began) / 5 < 0.3, "of the page's thread, for each change"


@pytest.mark.slow
def test_the_errors_of_an_edited_project_file_have_their_lines(tmp_path: Path, open_tab: Callable[..., Tab]) -> None:
    made = Made(tmp_path)
    made.checkpoint()
    before = (tmp_path / "whimbrel.toml").read_text()
    with console(tmp_path) as found:
        tab = open_tab(found)
        tab.show("mapping")
        tab.until("document.getElementById('toml').value.includes('[[table]]')")
        wrong = before.replace('shape = "record"', 'shape = "recrod"', 1)
        tab.page.fill("#toml", wrong)
        tab.wait(".findings button")
        line = 1 + wrong.splitlines().index('shape = "recrod"')
        assert f"line {line}" in tab.text("#toml-faults")
        assert "Edited, not saved" in tab.text()
        tab.page.fill("#toml", before + "\n[[table")
        tab.until("document.querySelector('#toml-faults').innerText.includes('TOML')")
        assert f"line {len(before.splitlines()) + 2}" in tab.text("#toml-faults")
        time.sleep(0.1)
        assert (tmp_path / "whimbrel.toml").read_text() == before, "nothing is saved unless asked for"
        tab.page.fill("#toml", before + "\n# a comment\n")
        tab.until("!document.querySelector('#toml-faults .findings')")
        tab.click("Save the file")
        tab.wait("text=As it is on disk")
        assert (tmp_path / "whimbrel.toml").read_text() == before + "\n# a comment\n"


def test_a_file_that_somebody_else_changed_is_not_overwritten(tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.checkpoint()
    file = tmp_path / "whimbrel.toml"
    with console(tmp_path) as found:
        found.open()
        known = found.post("ask/text").json()
        file.write_text(known["text"] + "# of somebody else\n")
        answer = found.post("ask/save-text", text=known["text"] + "# mine\n", digest=known["digest"])
        assert (answer.status, answer.json()["message"]) == (
            409,
            "the file was changed meanwhile, and is left as it is",
        )
        assert file.read_text().endswith("# of somebody else\n")
    with console(tmp_path, "--read-only") as found:
        found.open()
        known = found.post("ask/text").json()
        assert found.post("ask/save-text", text="", digest=known["digest"]).json()["message"].endswith("read-only")
        assert json.dumps(known["text"]) == json.dumps(file.read_text())


@pytest.mark.slow
def test_the_page_of_a_warehouse(tmp_path: Path, open_tab: Callable[..., Tab]) -> None:
    (tmp_path / "whimbrel.toml").write_text(SILOS)
    (tmp_path / ".whimbrel").mkdir(mode=0o700)
    silo = tmp_path / ".whimbrel" / "silos" / "shop"
    silo.mkdir(parents=True)
    tables = {"shop.t": TableProgress(1, 30, frozenset({1}), 30, 30)}
    checkpoint.save(silo / "checkpoint.json", Checkpoint(phase="apply", start=START, tables=tables))
    batch = {"time": time.time() - 3, "changes": 1_204, "seconds": 0.81}
    live = {
        "phase": "apply",
        "note": EVIL,
        "batches": [batch],
        "lag_changes": 7,
        "lag_seconds": 2.5,
        "caught_up": False,
    }
    status = figures("apply", ("shop.t",), silos={"shop": live}, note=EVIL)
    with console(tmp_path) as found:
        tab = open_tab(found)
        tab.wait("text=Nothing is running")
        tab.show("warehouse")
        tab.wait("text=none yet")
        write_status(tmp_path / ".whimbrel" / "status.json", status)
        tab.wait("text=1,204 changes in 0.8 s")
        row = tab.text("[data-key=silos] tbody tr")
        for words in ("shop", "following", "30", "2.5 s, 7 changes", EVIL):
            assert words in row
        assert tab.faults() == []
        tab.picture("warehouse")
        tab.show("overview")
        write_status(tmp_path / ".whimbrel" / "status.json", status)
        tab.wait("text=A silo waits")
        assert tab.logged == []
