"""The search is bounded by steps that are counted: a large schema ends, with a design that is no dearer than its start,
and the same one each time.
"""

from __future__ import annotations

import pytest

from benchmarks.design import scale_of
from whimbrel.proposal import search
from whimbrel.proposal.search import Found, Search


def found_with(most: int, patch: pytest.MonkeyPatch) -> tuple[Found, float, float, int]:
    patch.setattr(search, "MOST_STEPS", most)
    scale = scale_of(12, 40)
    found = Search(scale).run()
    return found, scale.total(found.best), scale.total(found.indexed), scale.steps


def test_few_steps_give_a_design_that_is_no_dearer_and_always_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, best, indexed, steps = found_with(80_000, monkeypatch)
    few, bounded, same, fewer = found_with(300, monkeypatch)
    assert same == indexed
    assert best <= bounded <= indexed
    assert fewer < steps
    assert few.best != whole.best
    assert found_with(300, monkeypatch)[0].best == few.best
