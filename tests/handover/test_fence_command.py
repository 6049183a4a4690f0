"""A fence that is a command of the user's, which an application keeps to, or does not."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.work import Work
from tests.handover.closing import GATE
from tests.handover.conftest import set_up
from tests.handover.test_cutover import cut, step
from tests.handover.test_fences import goes_on, is_open, writing
from tests.handover.test_plan import codes, plan
from tests.handover.writers import Application


class Polite(Application):
    """One that asks before each write, as through a proxy."""

    folder: Path

    @contextmanager
    def may_write(self) -> Iterator[bool]:
        with (self.folder / "gate").open("a") as gate:
            fcntl.flock(gate, fcntl.LOCK_SH)
            yield not (self.folder / "shut").exists()


@contextmanager
def politely(work: Work) -> Iterator[Polite]:
    work.source.execute("DELETE FROM purchase", database=work.database)
    application = Polite(work.source, work.database, 3)
    application.folder = work.folder
    application.start()
    try:
        work.wait_for(lambda: application.acknowledged > 100)
        yield application
    finally:
        application.stop()


def gated(work: Work) -> Work:
    command = work.folder / "fence"
    command.write_text(GATE)
    command.chmod(0o755)
    set_up(work, f'fence = "command"\nfence_command = ["{command}"]')
    return work


def events(work: Work) -> list[str]:
    return [line.split()[0] for line in (work.folder / "told").read_text().splitlines()]


@pytest.mark.slow
def test_a_command_closes_and_opens(shop: Work) -> None:
    gated(shop)
    assert "cutover-fence-unproved" in codes(plan(shop))
    assert events(shop) == ["try"]
    with politely(shop) as application:
        cut(shop)
        is_open(shop, application)
    assert events(shop) == ["try", "try", "fence"]
    shop.run("finish", "--yes")
    assert events(shop)[-1] == "unfence"


@pytest.mark.slow
def test_a_command_that_fails_is_undone_by_it(shop: Work) -> None:
    gated(shop)
    (shop.folder / "fails").write_text("try")
    assert "the proxy is away" in codes(plan(shop, code=2))["cutover-fence"]
    (shop.folder / "fails").write_text("fence unfence")
    with politely(shop) as application:
        said = shop.call("cutover", "--yes", code=3).output
        assert "the proxy is away" in said
        assert "it could not be undone yet" in said  # "unfence" has it, too
        assert step(shop) == "CUTTING"
        (shop.folder / "fails").unlink()
        shop.call("migrate", "--until-caught-up")
        assert (step(shop), events(shop)[-1]) == ("FOLLOWING", "unfence")
        goes_on(shop, application)


@pytest.mark.slow
def test_who_writes_past_the_command_is_found_before_the_decision(shop: Work) -> None:
    gated(shop)
    with writing(shop, "app", ()) as application:  # it never asks
        said = shop.call("cutover", "--yes", code=3).output
        assert "error[CutoverUndone]: " in said  # by what was written, or by what differs
        assert events(shop)[-1] == "unfence"
        goes_on(shop, application)
