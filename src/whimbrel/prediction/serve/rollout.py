"""How traffic is shifted to a new fleet, step by step, and when it is rolled back. Pure: figures in, words out.

The steps are those of SageMaker's DeploymentConfig (BlueGreenUpdatePolicy: ALL_AT_ONCE, CANARY, LINEAR). In the place
of CloudWatch alarms stands a Guard, which is always on while a new fleet is on trial.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from whimbrel.errors import UserError
from whimbrel.prediction.serve.figures import Window


class Stage(NamedTuple):
    """The new fleet gets ``share`` (0 to 1) of the calls for ``seconds``."""

    share: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Guard:
    """When a new fleet is worse than the old one. ``latency_floor`` is in seconds: below it no latency is a rise."""

    least_calls: int = 20
    max_error_rise: float = 0.01
    max_latency_ratio: float = 3.0
    latency_floor: float = 0.005


def stages(deployment: dict[str, Any]) -> tuple[Stage, ...]:
    """The steps that a DeploymentConfig asks for; the last one always has share 1. Raises UserError."""
    if "RollingUpdatePolicy" in deployment:
        raise _refused("RollingUpdatePolicy", "there are no instances to roll over; use BlueGreenUpdatePolicy")
    policy = deployment.get("BlueGreenUpdatePolicy")
    if not policy:
        return (Stage(1.0, 0.0),)
    routing = policy["TrafficRoutingConfiguration"]
    wait, bake = float(routing["WaitIntervalInSeconds"]), float(policy.get("TerminationWaitInSeconds", 0))
    kind = routing["Type"]
    if kind == "ALL_AT_ONCE":
        return (Stage(1.0, bake),)
    if kind == "CANARY":
        return (Stage(_size(routing, "CanarySize", 1, 50), wait), Stage(1.0, bake))
    if kind == "LINEAR":
        step = _size(routing, "LinearStepSize", 10, 50)
        shares = [step * number for number in range(1, int(1 / step) + 1) if step * number < 1.0 - 1e-9]
        return (*(Stage(share, wait) for share in shares), Stage(1.0, bake))
    raise _refused("TrafficRoutingConfiguration.Type", f"{kind!r} is not ALL_AT_ONCE, CANARY or LINEAR")


def verdict(old: Window, new: Window, losses: int, guard: Guard) -> str:
    """Why the new fleet has to go, or "" while nothing speaks against it.

    ``losses`` are the calls that the new fleet failed and the old one then answered: a caller's mistake, which both
    refuse, says nothing about a model.
    """
    enough = new.calls >= guard.least_calls
    # With few calls a rate says little, but three such calls say enough.
    if (enough or losses >= 3) and losses > guard.max_error_rise * new.calls:
        return f"{losses} of {new.calls} calls failed that the old model could answer"
    if not enough:
        return ""
    # With few calls to the old fleet there is nothing to compare with.
    if old.calls >= guard.least_calls:
        before, now = old.latency(0.9), new.latency(0.9)
        if now > guard.latency_floor and now > before * guard.max_latency_ratio:
            return f"9 of 10 calls took up to {now * 1e3:.3g} ms, and {before * 1e3:.3g} ms before"
    return ""


def _size(routing: dict[str, Any], name: str, least: int, most: int) -> float:
    size = routing.get(name) or {}
    value = size.get("Value", 0)
    if size.get("Type") != "CAPACITY_PERCENT":
        raise _refused(f"{name}.Type", "here it can only be CAPACITY_PERCENT: a share of the calls")
    if not least <= value <= most:
        raise _refused(f"{name}.Value", f"must be from {least} to {most}, not {value}")
    return float(value) / 100


def _refused(place: str, reason: str) -> UserError:
    return UserError(reason, place=f"DeploymentConfig {place}", hint="See docs/serve.md.")
