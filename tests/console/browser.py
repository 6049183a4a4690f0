"""Headless Chromium, Debian's, driven by Playwright; and axe, which looks for what keeps people out of a page."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from demo.from_debian import servers_folder
from tests.console.running import Console

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

AXE = servers_folder() / "axe" / "node_modules" / "axe-core" / "axe.min.js"
PATIENCE = 30_000  # milliseconds
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
]


@contextmanager
def chromium() -> Iterator[Any]:
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not installed")
    with ThreadPoolExecutor(1, "playwright") as thread:
        playwright = There(thread, thread.submit(sync_api.sync_playwright().start).result())
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()
            playwright.stop()


class There:
    """Something of Playwright's, used from any thread, and really used in Playwright's own: a loop runs there all
    the time, which in the thread of the tests would forbid them one.
    """

    def __init__(self, thread: ThreadPoolExecutor, it: Any) -> None:
        self._thread, self._it = thread, it

    def __getattr__(self, name: str) -> Any:
        found = self._thread.submit(getattr, self._it, name).result()
        return partial(self._call, found) if callable(found) else self._here(found)

    def _call(self, function: Callable[..., Any], *given: Any, **named: Any) -> Any:
        values = [each._it if isinstance(each, There) else each for each in given]
        return self._here(self._thread.submit(function, *values, **named).result())

    def _here(self, found: Any) -> Any:
        if isinstance(found, list):
            return [self._here(each) for each in found]
        return There(self._thread, found) if type(found).__module__.startswith("playwright") else found


class Tab:
    """One browser that a link has opened; what it logs, and whom it asks, is kept."""

    def __init__(self, browser: Any, console: Console, *, width: int = 1280, dark: bool = False) -> None:
        scheme = "dark" if dark else "light"
        size = {"width": width, "height": 900}
        self.context = browser.new_context(viewport=size, color_scheme=scheme, reduced_motion="reduce")
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self._devtools: Any = None
        self.logged: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda said: self.logged.append(said.text))
        self.page.on("pageerror", lambda error: self.logged.append(str(error)))
        self.page.on("dialog", lambda dialog: self.logged.append(f"dialog: {dialog.message}"))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(console.link)
        console.link = console.next_link()
        self.page.wait_for_selector(".verdict, .card")

    def show(self, name: str) -> None:
        self.page.click(f"nav a[href='#{name}']")
        self.page.wait_for_selector(f"nav a[href='#{name}'][aria-current]")

    def text(self, selector: str = "main") -> str:
        return str(self.page.inner_text(selector))

    def wait(self, selector: str) -> None:
        self.page.wait_for_selector(selector)

    def until(self, expression: str) -> None:
        """Until it is true in the page, whose policy forbids that the page itself evaluates it."""
        end = time.monotonic() + PATIENCE / 1000
        while not self.page.evaluate(expression):
            assert time.monotonic() < end, f"still not so: {expression}"
            self.page.wait_for_timeout(20)

    def click(self, text: str) -> None:
        self.page.click(f"button:has-text('{text}'):not([disabled])")

    def confirm(self, words: str) -> None:
        self.page.fill("#words", words)
        self.page.click("#dialog-go")

    def faults(self) -> list[str]:
        """What axe finds, each with the first place."""
        if not AXE.exists():
            pytest.skip("axe-core is not installed; make setup-tests does it")
        # Playwright evaluates outside of the page's own policy.
        self.page.evaluate(AXE.read_text())
        found = self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        return [f"{each['id']}: {each['nodes'][0]['html'][:200]}" for each in found["violations"]]

    def cpu_seconds(self) -> float:
        """That the page's own thread has used so far, whatever else the machine does."""
        if self._devtools is None:
            self._devtools = self.context.new_cdp_session(self.page)
            self._devtools.send("Performance.enable", {"timeDomain": "threadTicks"})
        found = self._devtools.send("Performance.getMetrics")["metrics"]
        return float(next(each["value"] for each in found if each["name"] == "TaskDuration"))

    def picture(self, name: str) -> None:
        """For a person who looks, where WHIMBREL_SCREENSHOTS names a folder."""
        if folder := os.environ.get("WHIMBREL_SCREENSHOTS"):
            self.page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)

    def close(self) -> None:
        self.context.close()
