"""The mark: which state folder works on a target table. It stands in a table of whimbrel's own, beside the target's.

Each run has a token of its own, and takes over the mark from the token of the run before it in the same folder. A
copied folder has a token that is not there any more as soon as the other folder was used, and is refused; a run from
which somebody else took the mark over stops. The order of a claim, so that a crash between any two steps leaves the
honest folder able to continue:

1. the new token is saved as ``mark_pending``;
2. the mark is moved from ``mark`` to the new token, on the condition that it has one of the two;
3. the new token is saved as ``mark``.

A claim that was broken off is first brought to its end, from which the next continues.
"""

from __future__ import annotations

import logging
import re
import secrets
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from whimbrel import checkpoint
from whimbrel.dynamodb.marks import Mark, Marks
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.errors import RequestRefused, TargetTaken
from whimbrel.mapping.design import TableMapping
from whimbrel.mapping.owned import keys_said, may_meet_said
from whimbrel.migration.prepare import Prepared
from whimbrel.migration.state import CheckpointStore, StateFolder
from whimbrel.project import OFF, KeyRule, Project

SURE_SECONDS = 3.0  # how long a look at the mark is good for

log = logging.getLogger(__name__)


class Claim:
    """Of one run on the target tables that its Checkpoint knows; nothing where the project has ``mark = "off"``."""

    def __init__(
        self,
        prepared: Prepared,
        checkpoints: CheckpointStore,
        wire: DynamoClient,
        stop: threading.Event,
        refused: Callable[[str], object],
    ) -> None:
        """``refused`` is as RetryingClient has it."""
        self._prepared = prepared
        self._checkpoints = checkpoints
        self._marks = Marks(wire, prepared.project.target, stop, refused)
        self._off = prepared.project.target.mark == OFF
        self._since = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self._targets: dict[str, str] = {}  # claimed: the tables' identities by their names
        self._sure_at = 0.0
        # By target and source table, what the keys of its items are made of: no other project may write such keys.
        self._owns: dict[str, dict[str, str]] = defaultdict(dict)
        for each in prepared.mappings.values():
            self._owns[each.target][each.source] = _templates(each)
        if self._off:
            log.warning("no mark: a second state folder on the same target is not noticed")

    def sure(self) -> None:
        """Claim the targets, or see every few seconds that they still are ours. To be called before they are written.

        Raises TargetTaken.
        """
        if self._off or time.monotonic() - self._sure_at < SURE_SECONDS:
            return
        self.look()

    def look(self) -> None:
        """The same, at once."""
        targets = self._known_targets()
        if self._off or not targets:
            return
        if targets != self._targets:
            self._claim(targets)
        else:
            for target, found in self._marks.of_all(list(targets), self._checkpoints.now.migration).items():
                if found is None or found.holder != self._checkpoints.now.mark:
                    raise self._taken(target, found)
        self._sure_at = time.monotonic()

    def _claim(self, targets: dict[str, str]) -> None:
        self._refuse_others(targets)
        now = self._checkpoints.now
        if not now.migration:
            self._checkpoints.save_at_once(replace(now, migration=secrets.token_hex(8)))
        if now.mark_pending:  # broken off somewhere after it was saved
            self._move(targets, now.mark_pending)
        is_first = not self._checkpoints.now.mark
        fresh = secrets.token_hex(16)
        self._checkpoints.save_at_once(replace(self._checkpoints.now, mark_pending=fresh))
        self._move(targets, fresh)
        try:
            self._refuse_others(targets)  # one that came at the same moment saw no mark either
        except TargetTaken:
            if is_first:
                for target, identity in targets.items():
                    self._marks.remove(self._mark(target, identity, fresh))
            raise
        self._targets = targets

    def _move(self, targets: dict[str, str], token: str) -> None:
        """Give the marks ``token``, which is saved as the pending one, and save that they have it."""
        before = self._checkpoints.now.mark
        for target, is_ours in self._put(
            [self._mark(target, identity, token) for target, identity in targets.items()], before
        ).items():
            if not is_ours:
                raise self._taken(target, self._marks.of(target, self._checkpoints.now.migration))
        self._checkpoints.save_at_once(replace(self._checkpoints.now, mark=token, mark_pending=""))

    def _put(self, marks: list[Mark], before: str) -> dict[str, bool]:
        try:
            return self._marks.put_all(marks, before)
        except RequestRefused as error:
            if error.code != "ResourceNotFoundException":
                raise
        self._marks.make()
        return self._marks.put_all(marks, before)

    def _refuse_others(self, targets: dict[str, str]) -> None:
        """Refuse to write where another migration of the same tables of the same source writes into the same table."""
        ours, marks = self._checkpoints.now, self._every_one_of(list(targets))
        for target, table_id in targets.items():
            for other in marks.get(target, ()):
                if other.migration == ours.migration or other.table_id != table_id:
                    continue
                if other.source == ours.source and _tables_of(other.owns) & _tables_of(self._owns[target]):
                    raise self._taken(target, other)
                if target in self._prepared.project.target.shared:
                    self._refuse_meeting(target, other)

    def _refuse_meeting(self, target: str, other: Mark) -> None:
        """Two migrations that share a target own different keys, and both say so."""
        if not other.keys:
            raise self._unshared(target, other, "does not say that it shares it")
        for mapping in [each for each in self._prepared.mappings.values() if each.target == target]:
            for rule, said in other.keys.items():
                try:
                    meets = may_meet_said(mapping, said)
                except ValueError as error:
                    raise self._unshared(target, other, f"says its keys in a form that is not known: {error}") from None
                if meets:
                    ours, theirs = self._owns[target][mapping.source], other.owns.get(rule, rule)
                    raise self._unshared(target, other, f"has keys that ours could meet ({theirs}; ours are {ours})")

    def _unshared(self, target: str, other: Mark, why: str) -> TargetTaken:
        hint = (
            f"Let both name it in shared of [target], and begin the keys of each with texts of their own. If that "
            f"migration was abandoned, remove its mark from table {self._marks.table!r}."
        )
        return TargetTaken(
            f"the migration of {other.place} writes to this table too, and {why}", place=target, hint=hint
        )

    def _every_one_of(self, targets: list[str]) -> dict[str, list[Mark]]:
        try:
            return self._marks.every_one_of(targets)
        except RequestRefused as error:
            if error.code == "ResourceNotFoundException":
                return {}
            raise

    def _known_targets(self) -> dict[str, str]:
        """The target tables that were made or taken, by name, with their identities."""
        now = self._checkpoints.now
        known = {each.target: now.table(each.source).target_id for each in self._prepared.mappings.values()}
        return {name: identity for name, identity in known.items() if identity}

    def _mark(self, target: str, identity: str, token: str) -> Mark:
        now = self._checkpoints.now
        place = f"{socket.gethostname()}:{self._prepared.project.state.resolve()}"
        mappings = [each for each in self._prepared.mappings.values() if each.target == target]
        shared = target in self._prepared.project.target.shared
        keys = {each.source: keys_said(each) for each in mappings} if shared else {}
        return Mark(target, now.migration, token, identity, now.source, self._owns[target], place, self._since, keys)

    def _taken(self, target: str, found: Mark | None) -> TargetTaken:
        return _taken(self._marks, target, found)


def refuse_copy(project: Project, wire: DynamoClient, stop: threading.Event) -> None:
    """For a command that decides by the state folder alone: raises TargetTaken if another copy of it was used since."""
    if project.target.mark == OFF:
        return
    now, marks = checkpoint.load(StateFolder(project.state).checkpoint), Marks(wire, project.target, stop)
    targets = sorted({rule.target for rule in project.tables})
    for target, found in sorted(marks.of_all(targets, now.migration).items()):
        if found is None or found.holder not in (now.mark, now.mark_pending):
            raise _taken(marks, target, found)


def _taken(marks: Marks, target: str, found: Mark | None) -> TargetTaken:
    if found is None:
        hint = f"To continue the migration, run the same command again; the mark is in table {marks.table!r}."
        return TargetTaken("the mark of this migration was removed", place=target, hint=hint)
    key = f'{{"target":{{"S":"{target}"}},"migration":{{"S":"{found.migration}"}}}}'
    return TargetTaken(
        f"another state folder works on this target: {found.place}, since {found.since}",
        place=target,
        hint="Continue with that folder, and remove this one. If that migration was abandoned, remove its mark: "
        f"aws dynamodb delete-item --table-name {marks.table} --key '{key}'",
    )


def _tables_of(owns: Mapping[str, str]) -> set[str]:
    """The source tables of rules; one that is in several of them has its number behind it."""
    return {re.sub(r"#[0-9]+$", "", name) for name in owns}


def _templates(mapping: TableMapping) -> str:
    keys: tuple[KeyRule | None, ...] = (mapping.rule.partition_key, mapping.rule.sort_key)
    return ", ".join(f"{key.name} = {key.value}" for key in keys if key)
