"""What the work on a body is counted for bounds what it takes; and a body that is nested too deeply is its caller's."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.prediction.serve.models import ROW, model
from whimbrel.prediction.serve.served import Call, Served
from whimbrel.prediction.serve.work import work


@pytest.mark.slow
def test_no_body_takes_more_memory_than_was_counted_for_it() -> None:
    command = [sys.executable, "-m", "tests.prediction.serve.heavy"]
    found = [json.loads(line) for line in subprocess.run(command, capture_output=True, check=True).stdout.splitlines()]
    assert len(found) > 20
    assert max(peak for _, peak, _ in found) > 15 << 20  # else nothing was measured
    assert [each for each in found if each[1] > each[2]] == []


def test_what_people_send_is_not_counted_many_times_over() -> None:
    rows = f"{ROW}\n" * 10_000
    listed = json.dumps({"instances": [{"features": [34, "retired", 999, 1.5]}] * 10_000})
    labels = model().labels
    assert work(rows.encode(), "text/csv", labels) < 35 * len(rows)
    assert work(listed.encode(), "application/json", labels) < 40 * len(listed)


@pytest.mark.parametrize("inner", ['{"":' * 1_000 + "0" + "}" * 1_000, "[" * 1_010 + "]" * 1_010, "[" * 5_000])
def test_a_body_that_is_nested_too_deeply_is_refused(inner: str) -> None:
    answer = Served("m", model()).answer(Call(f'{{"instances": [{inner}]}}'.encode(), "application/json", ""))
    assert answer.status == 400
    assert Served("m", model()).answer(Call(f"{inner}\n".encode(), "application/jsonlines", "")).status == 400
