"""Touched items that are compared with their rows before DynamoDB is closed, so that little is left to compare while
nobody can write. Which item may leave the list, and when, is in ``mysql.touched_items``.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing, suppress

from whimbrel.dynamodb.pace import RateLimiter
from whimbrel.errors import SourceUnreachable
from whimbrel.handover.look import Site
from whimbrel.item import key_id
from whimbrel.mysql.connect import Mysql, connect_to_write
from whimbrel.mysql.touched_items import Touched, count_items, put_all_back, put_back, take_in_hand

FEW = 200  # items: they take no time to compare while nobody can write
MOST_PASSES = 20

Tell = Callable[[int, int], None]  # how many of how many items were compared in this pass


class Early:
    """Of one command, which alone compares early."""

    def __init__(self, site: Site, has_letter: Callable[[str, bytes], bool]) -> None:
        """``has_letter``: whether an item, by its target and ``key_id``, could not be written back. The end decides
        about those.
        """
        self._site, self._has_letter = site, has_letter
        self._live = RateLimiter(site.prepared.project.target.max_read_units)

    def until_few(self, tell: Tell) -> None:
        """Passes over the list, until few items are left, or as many as the application keeps changing. Raises Stopped,
        and what the servers raise.
        """
        with self._connected() as connection:
            put_all_back(connection, self._site.schema, self._site.epoch)
            listed = self._count(connection)
            for _ in range(MOST_PASSES):
                if listed <= FEW:
                    return
                before = listed
                self._pass(connection, self._live, lambda: False, lambda done: tell(done, before))  # noqa: B023
                listed = self._count(connection)
                if listed > before // 2:
                    return

    def until(self, over: Callable[[], bool]) -> None:
        """One pass, or what of it is done before it is ``over``, while nobody can write: so as fast as may be. Raises
        likewise.
        """
        with self._connected() as connection:
            self._pass(connection, RateLimiter(0), over, lambda _: None)

    def _pass(
        self, connection: Mysql, pace: RateLimiter, over: Callable[[], bool], tell: Callable[[int], None]
    ) -> None:
        done = 0
        for target in self._site.inverses:
            for items in self._site.listed(connection, target):
                if over():
                    return
                with suppress(SourceUnreachable):  # a lock that somebody holds: they stay where they are
                    self._compare(connection, target, items, pace)
                done += len(items)
                tell(done)

    def _compare(self, connection: Mysql, target: str, items: list[Touched], pace: RateLimiter) -> None:
        site = self._site
        take_in_hand(connection, site.schema, site.epoch, target, items, alone=site.moves)
        # Read only now: what was committed before is seen, and what comes later puts its item on the list again.
        look = site.look(connection, target, site.items(target, [each.key for each in items], pace))
        unlike = {key_id(key) for key in look.unlike}
        left = [each for each in items if each.key_id in unlike or self._has_letter(target, each.key_id)]
        put_back(connection, site.schema, site.epoch, target, left, items)

    def _count(self, connection: Mysql) -> int:
        return count_items(connection, self._site.schema, self._site.epoch)

    def _connected(self) -> closing[Mysql]:
        return closing(connect_to_write(self._site.settings.account))
