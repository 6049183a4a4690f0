"""A live endpoint: which fleet answers a call, which of its variants, and what happens beside the answer.

All of this runs on the event loop's thread. A call takes its fleet and its variant once, before any of its work; a swap
is one assignment between two calls. So no answer is mixed, and a call under way ends with the model that it began with.
"""

from __future__ import annotations

import asyncio
import random
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

from whimbrel.prediction.serve.budget import Load, NoRoom
from whimbrel.prediction.serve.data_capture import CallWriter, CapturedCall
from whimbrel.prediction.serve.figures import Figures, Window
from whimbrel.prediction.serve.registry import DataCapture
from whimbrel.prediction.serve.served import Answer, Call, Served
from whimbrel.prediction.serve.work import work

RECENT = 64  # calls that a new model has to answer before it takes traffic
_SMALL_ENOUGH_TO_REMEMBER = 8192


class Meta(NamedTuple):
    """What a request says beside its body."""

    request_id: str = ""
    target_variant: str = ""
    inference_id: str = ""
    custom_attributes: str = ""


class LiveVariant:
    """A variant of a fleet: its model, its share, its figures."""

    def __init__(self, name: str, served: Served, weight: float) -> None:
        self.name = name
        self.served = served
        self.weight = weight
        self.figures = Figures()
        self.headers = f"x-Amzn-Invoked-Production-Variant: {name}\r\n{served.headers}"

    def answer(self, call: Call, arrived: float) -> Answer:
        """``arrived`` (monotonic) is from when the caller waits."""
        begun = time.monotonic()
        answer = self.served.answer(call)
        ended = time.monotonic()
        self.figures.record(ended, ended - begun, ended - arrived, answer.status, answer.rows)
        if answer.unknown:
            self.figures.unknown.merge(answer.unknown)
        return answer

    async def answer_in_steps(self, call: Call, arrived: float, load: Load) -> Answer:
        """As ``answer``, with other calls between the steps; the model's time is that of its own steps.

        Raises NoRoom where there was none for it in time.
        """
        needed = work(call.body, call.content_type, self.served.model.labels)
        async with load.budget.room(needed, load.patience):
            spent, turn = 0.0, -1
            steps = self.served.steps(call)
            while True:
                turn = load.turns.step(turn)
                begun = time.monotonic()
                answer = next(steps)
                ended = time.monotonic()
                spent += ended - begun
                load.turns.worked(ended)
                if answer:
                    break
                await asyncio.sleep(0)
            self.figures.record(ended, spent, ended - arrived, answer.status, answer.rows)
            if answer.unknown:
                self.figures.unknown.merge(answer.unknown)
            return answer


class NoSuchVariant(Exception):
    """The request names a target variant that the fleet does not have."""


class Fleet:
    """The variants of one endpoint configuration, ready to answer."""

    def __init__(
        self, config: str, variants: Sequence[LiveVariant], shadow: LiveVariant | None, capture: DataCapture | None
    ) -> None:
        self.config = config
        self.variants = tuple(variants)
        self.shadow = shadow
        self.capture = capture
        self.losses = 0  # calls that it failed on trial, and that the old fleet then answered
        self.weigh()

    def weigh(self) -> None:
        """Take the variants' weights as they are now; all 0 counts as all the same, as on SageMaker."""
        weights = [variant.weight for variant in self.variants]
        self._sums = list(accumulate(weights if any(weights) else [1.0] * len(weights)))

    def pick(self, target: str) -> LiveVariant:
        """By name where the request has one, else by weight. Raises NoSuchVariant."""
        if target:
            for variant in self.variants:
                if variant.name == target:
                    return variant
            raise NoSuchVariant
        if len(self.variants) == 1:
            return self.variants[0]
        place = bisect_right(self._sums, random.random() * self._sums[-1])
        return self.variants[min(place, len(self.variants) - 1)]

    def window(self) -> Window:
        """What all its variants together have answered."""
        windows = [variant.figures.window() for variant in self.variants]
        return Window(
            sum(each.calls for each in windows),
            sum(each.errors for each in windows),
            sum(each.faults for each in windows),
            tuple(sum(counts) for counts in zip(*(each.buckets for each in windows), strict=True)),
        )


class Trial(NamedTuple):
    """A new fleet that gets ``share`` of the calls (0 to 1) and has not proved itself yet."""

    fleet: Fleet
    share: float


class LiveEndpoint:
    """What answers under one name."""

    def __init__(self, name: str, call_writer: CallWriter, *, refuse_unknown: bool = False) -> None:
        self.name = name
        self.refuse_unknown = refuse_unknown
        self.fleet: Fleet | None = None
        self.trial: Trial | None = None
        self.past: deque[Fleet] = deque(maxlen=8)  # what answered before: their figures are part of the last minutes
        self.recent: deque[Call] = deque(maxlen=RECENT)
        self._capturer = call_writer
        self._shadows: set[asyncio.Task[None]] = set()

    def swap(self, fleet: Fleet) -> None:
        """From the next call on, ``fleet`` answers."""
        if self.fleet:
            self.past.append(self.fleet)
        self.fleet = fleet

    def invoke(self, call: Call, meta: Meta, arrived: float) -> tuple[LiveVariant, Answer]:
        """Answer a small body at once. Raises NoSuchVariant; ``fleet`` must be there."""
        fleet, trial = self._fleet_for_this_call()
        variant = fleet.pick(meta.target_variant)
        answer = variant.answer(call, arrived)
        if answer.status != 200 and trial and self.fleet:
            # A model on trial costs nobody an answer: the old one gives it. If it can,
            # the failure counts against the new one; if both refuse, it is the caller's.
            tried, fleet = fleet, self.fleet
            variant = fleet.pick("")
            answer = variant.answer(call, arrived)
            tried.losses += answer.status == 200
        if answer.status == 200:
            self._after(fleet, variant, call, answer, meta)
        return variant, answer

    async def invoke_large(self, call: Call, meta: Meta, arrived: float, load: Load) -> tuple[LiveVariant, Answer]:
        """As ``invoke``, for a body that takes long. Raises NoRoom, too."""
        fleet, trial = self._fleet_for_this_call()
        variant = fleet.pick(meta.target_variant)
        answer = await variant.answer_in_steps(call, arrived, load)
        if answer.status != 200 and trial and self.fleet:
            tried, fleet = fleet, self.fleet
            variant = fleet.pick("")
            answer = await variant.answer_in_steps(call, arrived, load)
            tried.losses += answer.status == 200
        if answer.status == 200:
            self._after(fleet, variant, call, answer, meta, load)
        return variant, answer

    def _fleet_for_this_call(self) -> tuple[Fleet, bool]:
        trial = self.trial
        if trial and (trial.share >= 1.0 or random.random() < trial.share):
            return trial.fleet, True
        assert self.fleet
        return self.fleet, False

    def _after(
        self, fleet: Fleet, variant: LiveVariant, call: Call, answer: Answer, meta: Meta, load: Load | None = None
    ) -> None:
        if len(call.body) <= _SMALL_ENOUGH_TO_REMEMBER:
            self.recent.append(call)
        chosen = fleet.capture and random.random() * 100 < fleet.capture.percent
        if chosen:
            self._keep(fleet, variant, call, answer, meta)
        if fleet.shadow:
            task = asyncio.get_running_loop().create_task(self._shadow(fleet, call, meta, bool(chosen), load))
            self._shadows.add(task)
            task.add_done_callback(self._shadows.discard)

    async def _shadow(self, fleet: Fleet, call: Call, meta: Meta, chosen: bool, load: Load | None) -> None:
        """The shadow's answer goes to its figures and to the capture, and nowhere else. ``load``: of a large call."""
        assert fleet.shadow
        begun = time.monotonic()
        if load is None:
            answer = fleet.shadow.answer(call, begun)
        else:
            load.budget.add(len(call.body))
            try:
                answer = await fleet.shadow.answer_in_steps(call, begun, load)
            except NoRoom:
                return
            finally:
                load.budget.add(-len(call.body))
        if chosen:
            self._keep(fleet, fleet.shadow, call, answer, meta)

    def _keep(self, fleet: Fleet, variant: LiveVariant, call: Call, answer: Answer, meta: Meta) -> None:
        assert fleet.capture
        self._capturer.keep(
            fleet.capture,
            CapturedCall(
                endpoint=self.name,
                variant=variant.name,
                model_version=variant.served.version,
                at=time.time(),
                event_id=meta.request_id,
                inference_id=meta.inference_id,
                custom_attributes=meta.custom_attributes,
                content_type=call.content_type,
                input=call.body,
                output_type=answer.content_type,
                output=answer.body,
            ),
        )
