"""Dates, timestamps and nested maps as inputs: the same numbers in training and when serving."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.prediction.train.tables import rule
from whimbrel.errors import ModelDamaged, RowError, TrainingError
from whimbrel.prediction.model.dates import date_parts
from whimbrel.prediction.model.drift import drift
from whimbrel.prediction.model.model import Model, load_model, read_model
from whimbrel.prediction.train.tables import read_table
from whimbrel.prediction.train.train import model_path, scored, train

MOMENTS = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1))


def visits(rows: int = 800) -> pa.Table:
    """An outcome that follows weekday and hour, and one number inside a map inside a map."""
    draw = np.random.default_rng(3)
    moments = [datetime(2024, 1, 1) + timedelta(hours=int(each)) for each in draw.integers(0, 24 * 500, rows)]
    level = draw.normal(size=rows)
    score = [each.weekday() >= 5 or each.hour < 6 for each in moments]
    happened = [bool(each) != (draw.random() < 0.1) for each in score]
    return pa.table(
        {
            "at": pa.array(moments, pa.timestamp("us")),
            "day": pa.array([each.date() for each in moments]),
            "text": pa.array([None if number % 20 == 0 else each.isoformat() for number, each in enumerate(moments)]),
            "about": pa.array([{"inner": {"level": float(each)}, "kind": "ab"[int(each > 0)]} for each in level]),
            "y": pa.array(["yes" if each else "no" for each in happened]),
        }
    )


def trained(table: pa.Table, folder: Path, **settings: Any) -> Model:
    made = train(rule(**settings), table, manifest_id="m", as_of="", folder=folder)
    return load_model(model_path(folder, made.version))


@given(MOMENTS, st.integers(-14 * 60, 14 * 60))
def test_a_moment_has_the_same_parts_in_every_form(moment: datetime, minutes: int) -> None:
    wanted = date_parts(moment)
    there = moment.replace(tzinfo=UTC).astimezone(timezone(timedelta(minutes=minutes)))
    for form in (moment.isoformat(), moment.isoformat(" ") + "Z", there, there.isoformat()):
        assert date_parts(form) == wanted
    day = date_parts(moment.date())
    assert day == date_parts(moment.date().isoformat()) == (*wanted[:4], 0.0)
    assert day[:3] == (moment.year, moment.month, moment.isoweekday() - 1)
    assert day[3] == (moment.date() - date(1970, 1, 1)).days


@pytest.mark.parametrize("wrong", ["2024-13-01", "2024-1-1", "20240101", "yesterday", "2024-01-01T25:00", 5, True, []])
def test_what_is_not_a_date_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"must be a date|hour|month"):
        date_parts(wrong)


@pytest.mark.parametrize("learner", ["linear", "boosted"])
def test_a_model_learns_from_dates_and_maps_and_answers_alike_from_each_form(learner: str, tmp_path: Path) -> None:
    table = visits()
    model = trained(table, tmp_path, learner=learner)
    assert model.columns == ["at", "day", "text", "about.kind", "about.inner.level"]
    assert [each.name for each in model.inputs][:5] == [
        f"at ({p})" for p in ("year", "month", "weekday", "days", "hour")
    ]
    assert "day (hour)" not in [each.name for each in model.inputs]  # it is always the same
    assert model.metrics["auc"] > 0.8
    rows = table.drop_columns("y").to_pylist()
    wanted, _ = scored(model, table)
    assert model.scores(rows) == list(wanted)  # nested, as JSON has them
    texts = [
        [
            str(row["at"]),
            row["day"].isoformat(),
            row["text"] or "",
            row["about"]["kind"],
            row["about"]["inner"]["level"],
        ]
        for row in rows
    ]
    assert model.scores(texts) == list(wanted)
    with pytest.raises(RowError, match="column 'at' must be an ISO date, not 'now'"):
        model.predict([["now", *texts[0][1:]]])
    found = {each.input: each for each in drift(model, [["2031-05-05", *row[1:]] for row in texts]).inputs}
    assert (found["at (year)"].outside, found["day (year)"].outside) == (1.0, 0.0)


def test_dates_of_a_csv_file_are_inputs_unless_they_are_said_to_be_categories(tmp_path: Path) -> None:
    table = visits().select(["day", "text", "y"])
    path = tmp_path / "visits.csv"
    lines = [",".join(str(each or "") for each in row.values()) for row in table.to_pylist()]
    path.write_text("\n".join(["day,text,y", *lines]) + "\n")
    model = trained(read_table([path]), tmp_path)
    assert {each.part for each in model.inputs} == {"year", "month", "weekday", "days", "hour"}
    with pytest.raises(TrainingError, match=r"column .day. has .* different strings"):
        trained(read_table([path], categories=["day"]), tmp_path, types={"day": "category"}, exclude=("text",))


def test_only_a_model_with_dates_has_the_newer_format(tmp_path: Path) -> None:
    table = visits()
    plain = trained(table, tmp_path, exclude=("at", "day", "text"))
    assert plain.as_dict()["format"] == "whimbrel-model/1"
    dated = trained(table, tmp_path)
    assert dated.as_dict()["format"] == "whimbrel-model/2"
    data = model_path(tmp_path, dated.version).read_bytes()
    with pytest.raises(ModelDamaged):
        read_model(data.replace(b'"part":"year"', b'"part":"moon"'))
