"""Two state folders on one target are noticed: a copied one, and one that began on its own."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from typing import Any

import pytest

from demo.shop import CREATE
from tests.e2e.work import Work
from whimbrel.checkpoint import Checkpoint
from whimbrel.dynamodb.marks import Marks
from whimbrel.migration.state import CheckpointStore


@pytest.fixture
def shop(work: Work) -> Work:
    work.source.execute(CREATE, "INSERT INTO purchase VALUES ('c', 'o1', 'p1', 1)", database=work.database)
    return work


def copied(work: Work) -> Callable[[], None]:
    """Keeps a copy of the state folder; what is returned puts it there as that of another project."""
    kept = work.folder / "kept"
    shutil.copytree(work.state, kept)

    def use() -> None:
        shutil.rmtree(work.state)
        shutil.copytree(kept, work.state)

    return use


def insert(work: Work, order: str) -> None:
    work.source.execute(f"INSERT INTO purchase VALUES ('c', '{order}', 'p1', 1)", database=work.database)


def test_a_copied_folder_is_refused_once_the_other_was_used(shop: Work) -> None:
    shop.call("migrate", "--until-caught-up")
    use_copy = copied(shop)
    insert(shop, "o2")
    shop.call("migrate", "--until-caught-up")
    assert len(shop.marks()) == 1
    use_copy()
    for command in (("migrate", "--until-caught-up"), ("apply", "--until-caught-up"), ("load",), ("verify",)):
        told = shop.call(*command, code=3).output
        assert "another state folder works on this target" in told
        assert "aws dynamodb delete-item --table-name whimbrel" in told


def test_a_run_stops_when_its_copy_took_over(shop: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.call("migrate", "--until-caught-up")
    original = shop.state
    with shop.running_until_it_ends("migrate") as process:
        shop.wait_for(lambda: shop.checkpoint()["mark"] and not shop.checkpoint()["mark_pending"], process)
        other = Work(shop.folder / "other", shop.source, shop.database, shop.endpoint, shop.target)
        other.folder.mkdir()
        other.write_project()
        shutil.copytree(original, other.state)
        other.call("migrate", "--until-caught-up")
        _, err = process.communicate(timeout=60)
        assert process.returncode == 3
        assert "another state folder works on this target" in err


def test_another_folder_with_the_same_source_and_target_is_refused(shop: Work) -> None:
    shop.call("migrate", "--until-caught-up")
    shutil.rmtree(shop.state)
    assert "another state folder" in shop.call("migrate", "--until-caught-up", "--into-existing", code=3).output
    [given_up] = shop.marks()
    key = {name: given_up[name] for name in ("target", "migration")}
    shop.endpoint.client().delete_item(TableName="whimbrel", Key=key)
    shop.call("migrate", "--until-caught-up", "--into-existing")
    shop.assert_equal()


class Crash(BaseException):
    """As a SIGKILL."""


def _crashed_at(number: int, work: Work, monkeypatch: pytest.MonkeyPatch) -> bool:
    made = itertools.count()

    def step(real: Any) -> Any:
        def call(*arguments: Any) -> Any:
            saved = arguments[1]
            claims = not isinstance(saved, Checkpoint) or saved.mark_pending or saved.mark
            if claims and next(made) == number:
                raise Crash
            result = real(*arguments)
            if claims and next(made) == number:
                raise Crash
            return result

        return call

    with monkeypatch.context() as patched:
        patched.setattr(CheckpointStore, "save_at_once", step(CheckpointStore.save_at_once))
        patched.setattr(Marks, "put_all", step(Marks.put_all))
        try:
            work.call("migrate", "--until-caught-up")
        except Crash:
            return True
    return False


@pytest.mark.parametrize("first", [True, False], ids=["the first claim", "a later one"])
def test_a_crash_at_any_step_of_a_claim_leaves_the_folder_able_to_go_on(
    shop: Work, monkeypatch: pytest.MonkeyPatch, first: bool
) -> None:
    if not first:
        shop.call("migrate", "--until-caught-up")
    crash_at = 0
    while _crashed_at(crash_at, shop, monkeypatch):
        crash_at += 1
    assert crash_at >= 6
    shop.assert_equal()


def test_without_a_mark_a_copy_is_not_noticed_and_that_is_said(shop: Work) -> None:
    shop.target_settings = 'mark = "off"'
    shop.write_project()
    shop.call("migrate", "--until-caught-up")
    assert "not noticed" in shop.call("status").output
    assert "mark" in (shop.state / "whimbrel.log").read_text()
