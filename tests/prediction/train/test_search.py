"""Settings are chosen on some of a large table's rows, unless these would not do; and training holds what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.prediction.train.tables import calls, rule
from whimbrel.prediction.train import holdout
from whimbrel.prediction.train.holdout import searched
from whimbrel.prediction.train.train import train

TRAINED = """
import sys
from pathlib import Path
import numpy as np
import pyarrow as pa
from tests.prediction.train.tables import calls, rule
from whimbrel.prediction.train.train import train
table, draw = calls(int(sys.argv[2])), np.random.default_rng(1)
for number in range(int(sys.argv[3])):  # each value another one: a number of Python for each
    table = table.append_column(f"more{number}", pa.array(draw.normal(size=table.num_rows)))
train(rule(learner=sys.argv[4]), table, manifest_id="m", as_of="", folder=Path(sys.argv[1]))
print(Path("/proc/self/status").read_text())
"""


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holdout, "SEARCHED_ROWS", 1_000)
    monkeypatch.setattr(holdout, "LEAST_OF_A_CLASS", 100)


@pytest.mark.usefixtures("few")
def test_one_row_in_so_many_is_searched_in_order() -> None:
    target = np.arange(4_500) % 3
    some, parts = searched(target, 3, rule())
    assert some == slice(None, None, 4)
    assert sorted(np.concatenate([part.held for part in parts]).tolist()) == list(range(1_125))
    some, parts = searched(target.astype(float), 0, rule(split="time"))
    assert some == slice(None, None, 4)
    assert all(part.fit.max() < part.held.min() for part in parts)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("split", ["stratified", "time"])
def test_all_rows_are_searched_where_some_would_have_too_few_of_a_class(split: str) -> None:
    rare = np.zeros(8_000, dtype=int)
    rare[1::40] = 1  # none of these is one of the rows that would be looked at
    some, parts = searched(rare, 2, rule(split=split))
    assert some == slice(None)
    assert all(rare[part.fit].any() for part in parts)
    late = np.zeros(8_000, dtype=int)
    late[7_900:] = 1
    assert searched(late, 2, rule(split="time")) == (slice(None), []), "no earlier row tells"


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("learner", ["linear", "boosted"])
def test_what_some_rows_choose_is_as_good(learner: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = calls(9_000)
    of_some = train(rule(learner=learner), table, manifest_id="m", as_of="", folder=tmp_path / "some").metrics
    monkeypatch.undo()
    of_all = train(rule(learner=learner), table, manifest_id="m", as_of="", folder=tmp_path / "all").metrics
    assert of_some["auc"] == pytest.approx(of_all["auc"], abs=0.01)
    assert of_some["log_loss"] == pytest.approx(of_all["log_loss"], abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("learner", ["linear", "boosted"])
def test_training_holds_what_the_page_says(tmp_path: Path, learner: str) -> None:
    """300 MB, and 110 bytes for each value (docs/operations.md)."""
    rows, columns = 200_000, 20
    command = [sys.executable, "-c", TRAINED, str(tmp_path), str(rows), str(columns - 4), learner]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3])
    found = re.search(r"VmHWM:\s+(\d+) kB", done.stdout)
    assert found
    print(learner, int(found[1]) // 1024)
    assert int(found[1]) * 1024 < (300 << 20) + 110 * rows * (columns + 1)
