"""The console, until it is told to stop: an HTTP server for this machine alone, and who looks at the state folder."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from whimbrel.api import looking
from whimbrel.console.entrance import Entrance
from whimbrel.console.news import News
from whimbrel.console.overview import overview, unreadable
from whimbrel.console.paths import Paths
from whimbrel.console.works import WorkList
from whimbrel.errors import ProjectError
from whimbrel.prediction.serve.listener import Limits, Listener
from whimbrel.prediction.serve.server import Until, listen, run, until_set
from whimbrel.project import Project
from whimbrel.threads import in_thread

__all__ = ["serve_console", "until_set"]

HOST = "127.0.0.1"
EVERY = 1.0  # seconds between two looks, while a page is open
NOBODY_AFTER = 60.0  # seconds without a page that asks
ENDS_WITHIN = 30.0  # seconds, for what the console itself is at: a cutover is undone first
MOST_BODY = 2 << 20


def serve_console(
    project: Project,
    read: Callable[[], Project],
    *,
    port: int,
    read_only: bool,
    ready: Callable[[str], None],
    until: Until,
) -> None:
    """``ready`` is called with each link that opens a browser: the first one, and a new one when that has been used.

    Raises UserError where the port cannot be had.
    """
    run(_serve(project, read, port, read_only, ready, until))


async def _serve(
    project: Project,
    read: Callable[[], Project],
    port: int,
    read_only: bool,
    ready: Callable[[str], None],
    until: Until,
) -> None:
    loop, entrance, news = asyncio.get_running_loop(), Entrance(HOST), News()
    works_changed = asyncio.Event()

    def changed() -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(works_changed.set)

    def used() -> None:
        ready(link())

    works = WorkList(changed)
    paths = Paths(project, read, entrance, works, news, read_only=read_only, used=used)
    listener = Listener(Limits(body=MOST_BODY, memory=64 << 20), entrance.by_head, paths.handle)
    server = await listen(listener, HOST, port)
    actual = server.sockets[0].getsockname()[1]

    def link() -> str:
        return f"http://{HOST}:{actual}/open/{entrance.token}"

    beside = [
        loop.create_task(listener.watch()),
        loop.create_task(_look(_Newest(project, read), works, news, read_only)),
        loop.create_task(_pass_on(works, news, works_changed)),
    ]
    ready(link())
    await until()
    server.close()
    paths.end()
    await in_thread(works.close, ENDS_WITHIN)
    news.end()
    await listener.drain(2.0)
    for task in beside:
        task.cancel()
    await asyncio.gather(*beside, return_exceptions=True)


class _Newest:
    """The project as its file is now; while that has faults, as it was before."""

    def __init__(self, project: Project, read: Callable[[], Project]) -> None:
        self._read = read
        self._project, self._changed = project, _changed_at(project)

    def get(self) -> Project:
        changed = _changed_at(self._project)
        if changed != self._changed:
            self._changed = changed
            with contextlib.suppress(ProjectError):
                self._project = self._read()
        return self._project


def _changed_at(project: Project) -> float:
    try:
        return project.path.stat().st_mtime
    except OSError:
        return 0.0


async def _look(newest: _Newest, works: WorkList, news: News, read_only: bool) -> None:
    """Look at the state folder again and again, while a page is open that shows it."""
    loop = asyncio.get_running_loop()
    last_asked, failed = 0.0, ""
    while True:
        if news.asked.is_set() or loop.time() - last_asked > NOBODY_AFTER:
            await news.asked.wait()
            last_asked = loop.time()
            news.asked.clear()
        try:
            project = await in_thread(newest.get)
            news.put_overview(await in_thread(overview, project, works.steering, read_only))
            news.put_events(*await in_thread(looking.new_events, project, news.now.log))
            failed = ""
        except Exception as error:
            if repr(error) != failed:  # once, not each second
                failed = repr(error)
                news.put_overview(unreadable(newest.get(), read_only, error))
        await asyncio.sleep(EVERY)


async def _pass_on(works: WorkList, news: News, changed: asyncio.Event) -> None:
    """What the console's own works say, a few times a second at most."""
    while True:
        await changed.wait()
        changed.clear()
        news.put_works(works.to_list())
        await asyncio.sleep(0.05)
