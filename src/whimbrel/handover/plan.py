"""The plan of a cutover: what stands in the way, every step, how long writes will stop. Changes nothing."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

from whimbrel import checkpoint
from whimbrel.checks.findings import ERROR, Finding, finding, in_order
from whimbrel.errors import FenceBroken, HandoverError, NotReady, PrivilegeError, ProjectError
from whimbrel.handed_over import load
from whimbrel.handover.expected import EXPECTED_RATE, little_left, quick_drain
from whimbrel.handover.fence_facts import STEPS, fence_facts, fence_tried
from whimbrel.handover.way_back import way_back_facts
from whimbrel.migration.dead import read_letters
from whimbrel.migration.live import read_status
from whimbrel.migration.prepare import Prepared, prepare
from whimbrel.migration.state import StateFolder
from whimbrel.migration.verified import read_verified
from whimbrel.migration.verify import dirty_items, not_quick
from whimbrel.migration.waivers import Waivers, named
from whimbrel.mysql.connect import connect
from whimbrel.mysql.handover_checks import Fact, LockTrial, facts_of, replica_facts
from whimbrel.project import Project
from whimbrel.project.cutover import TRIGGERS

DRAIN_SECONDS = 0.05  # the last changes, of a target that has nothing else to do
STREAM_SECONDS = 1.0  # the same through a stream: how often Lambda asks it


@dataclass(frozen=True, slots=True)
class CutoverPlan:
    """``findings`` as ``check`` has them, errors first: with one, a cutover is refused before anything is changed.

    ``stall_ms`` is about how long nobody will be able to write, None where it cannot be estimated. ``dirty`` is how
    many items must be verified in that time, None if all.
    """

    findings: tuple[Finding, ...]
    steps: tuple[str, ...]
    tables: tuple[str, ...]
    stall_ms: float | None
    dirty: int | None
    step: str

    @property
    def errors(self) -> int:
        return sum(each.severity == ERROR for each in self.findings)

    def to_dict(self) -> dict[str, Any]:
        found = {name: getattr(self, name) for name in self.__slots__}
        return found | {"errors": self.errors, "findings": [asdict(each) for each in self.findings]}


def plan(project: Project, waivers: Waivers) -> CutoverPlan:
    """Raises as ``prepare`` does where source or project cannot be read at all."""
    refuse_untried(project)
    return plan_of(prepare(project), waivers)


def refuse_untried(project: Project) -> None:
    """Of a shared target the streams, and what others write to it, would be taken for this project's. Raises
    ProjectError.
    """
    if project.target.shared:
        raise ProjectError(
            f"target.shared: others write to {project.target.shared[0]!r} too, and a cutover is of whole tables",
            place=str(project.path),
            hint="Close the application's writes yourself, wait until `whimbrel verify` finds both equal, and switch.",
        )


def refuse_unready(prepared: Prepared, waivers: Waivers) -> CutoverPlan:
    """Raises NotReady with every error of the plan."""
    made = plan_of(prepared, waivers)
    _refuse(made.findings)
    return made


def refuse_replica(project: Project) -> None:
    """Raises NotReady. Writes nothing to the source, where all else that comes before a cutover does."""
    with closing(connect(project.source)) as connection:
        _refuse([finding(*fact) for fact in replica_facts(connection)])


def _refuse(findings: Iterable[Finding]) -> None:
    if errors := [each for each in findings if each.severity == ERROR]:
        listed = "".join(f"\n  {each.place}: {each.reason} [{each.code}]. {each.remedy}" for each in errors)
        raise NotReady(
            f"the cutover cannot begin, and nothing was changed:{listed}", place="cutover", hint="`cutover --plan`"
        )


def plan_of(prepared: Prepared, waivers: Waivers) -> CutoverPlan:
    project, tables = prepared.project, sorted(prepared.tables)
    facts = list(_state_facts(prepared, waivers))
    trial: LockTrial | None = None
    with closing(connect(project.source)) as connection:
        facts += (replica := list(replica_facts(connection)))
        rights = ("LOCK TABLES", "TRIGGER") if project.cutover.fence == TRIGGERS else ("LOCK TABLES",)
        facts += facts_of(connection, tables, rights)
        facts += fence_facts(prepared, connection)
        facts += way_back_facts(prepared, connection)
    try:
        if not replica and not any(each.code == "cutover-fence" for each in facts):
            trial = fence_tried(prepared)
    except (FenceBroken, PrivilegeError) as error:
        facts.append(Fact("cutover-privileges", error.place, error.message, error.hint))
    except HandoverError as error:
        facts.append(Fact("cutover-fence", error.place, error.message, error.hint))
    dirty = dirty_items(prepared)
    count = None if dirty.everything else len(dirty)
    stall = _stall(trial, len(tables), count, _drain_seconds(project), project.cutover.max_stall)
    facts += _settings_facts(project, stall)
    findings = in_order([finding(*fact) for fact in facts])
    step = load(project.state).step
    return CutoverPlan(tuple(findings), tuple(_steps(project)), tuple(map(".".join, tables)), stall, count, step)


def _state_facts(prepared: Prepared, waivers: Waivers) -> Iterator[Fact]:
    """What the migration's own state says."""
    project, folder = prepared.project, StateFolder(prepared.project.state)
    phase = checkpoint.load(folder.checkpoint).phase
    if phase != "apply":
        yield Fact("cutover-not-following", str(folder.root), f"the phase is {phase!r}")
        return
    left, waived = named(waivers.left(read_letters(folder.dead))), named(waivers.of(read_letters(folder.dead)))
    for code, found in (("cutover-dead-letters", left), ("cutover-waived", waived)):
        if found.letters:
            yield Fact(code, str(folder.dead), f"{found.letters:,} dead letters: {found}")
    live = read_status(folder)
    if live and (lag := live.get("lag_seconds")) and lag > project.cutover.max_lag:
        yield Fact("cutover-lag", "target", f"is {lag:.1f} seconds behind (max_lag = {project.cutover.max_lag:g})")
    verified, hours = read_verified(folder.root), project.cutover.verified_within
    if verified is None:
        yield Fact("cutover-not-verified", "verification", "no full verification found both sides equal")
    elif (age := (time.time() - verified.full) / 3600) > hours:
        yield Fact("cutover-not-verified", "verification", f"the last full one is {age:,.1f} hours old")
    elif everything := dirty_items(prepared).everything:
        yield Fact("cutover-not-verified", "verification", everything)
    for source in not_quick(prepared):
        yield Fact("cutover-slow", source, "an expression makes its key: its rows can only be looked up by reading all")


def _settings_facts(project: Project, stall: float | None) -> Iterator[Fact]:
    settings = project.cutover
    if not (settings.on_switch or settings.on_switch_url or settings.route_file or settings.route_item):
        yield Fact("cutover-unheard", "cutover", "neither a hook nor a route is set")
    if not settings.reverse_user:
        yield Fact("cutover-no-way-back", "cutover.reverse_user", "is not set")
    if stall and stall > settings.max_stall * 1000:
        yield Fact("cutover-stall", "cutover.max_stall", f"about {stall:,.0f} ms are expected")


def _stall(trial: LockTrial | None, tables: int, dirty: int | None, drain: float, max_stall: float) -> float | None:
    """In milliseconds: two locks, the fence, the drain, the verification of what is left of the dirty items when writes
    are closed, and the look for late changes at the end.
    """
    if trial is None or dirty is None:
        return None
    fence = trial.close + tables * trial.table
    left = min(dirty, little_left(EXPECTED_RATE, max_stall))
    return round((2 * trial.lock + fence + drain + DRAIN_SECONDS + left / EXPECTED_RATE) * 1000, 1)


def _drain_seconds(project: Project) -> float:
    """By the lag of the migration that follows now and the rate at which it applies. A cutover waits for a moment when
    it is quick.
    """
    live, least = read_status(StateFolder(project.state)), STREAM_SECONDS if project.stream else DRAIN_SECONDS
    if not live or not (rate := live.get("applied_per_second")):
        return least
    return float(min(max(least, live["lag_changes"] / rate), quick_drain(project)))


def _steps(project: Project) -> Iterator[str]:
    settings = project.cutover
    yield "verify what was written since the last verification, until little is left"
    if settings.before:
        yield f"pause the application's writers: {settings.before[0]}"
    yield STEPS[settings.fence]
    yield "apply everything up to it, and verify what is left, from both sides"
    yield "lock all tables again, see that nothing got past the fence, and decide"
    yield "until here every failure undoes all; from here on only a rollback leads back"
    told = [settings.route_file, *settings.on_switch[:1], settings.on_switch_url]
    yield f"tell the application: {', '.join(filter(None, told)) or 'nothing is set, so nobody'}"
    if not settings.reverse_user:
        yield "there is no way back: `whimbrel rollback` is refused from then on"
    else:
        yield f"write back what is written to DynamoDB, as {settings.reverse_user}, until `whimbrel finish`"
