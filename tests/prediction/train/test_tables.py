"""Tables from files: a value is the same feature when it is trained on and when the same text is served."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.prediction.train.tables import rule
from whimbrel.errors import UserError
from whimbrel.prediction.train.tables import read_table
from whimbrel.prediction.train.train import train

ROWS = 400


def lines(header: bool = True) -> list[str]:
    draw = np.random.default_rng(1)
    made = ["flag,zip,note,amount,y"] if header else []
    for number in range(ROWS):
        flag, code, note = ("True", "007", "NA") if draw.random() < 0.5 else ("False", "7", "null")
        made.append(f"{flag},{code},{note},{'' if number % 9 == 0 else number / 4},{'yes' if number % 3 else 'no'}")
    return made


def test_texts_of_a_csv_are_the_categories_that_a_csv_row_has(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(lines()) + "\n")
    by = rule(types={"zip": "category"})
    model = train(by, read_table([path], categories=by.categories), manifest_id="m", as_of="", folder=tmp_path)
    known = {each.name: set(each.categories) for each in model.inputs}
    assert known == {"flag": {"True", "False"}, "zip": {"007", "7"}, "note": {"NA", "null"}, "amount": set()}
    assert model.inputs[3].shares[-1] > 0.09  # an empty field is a missing number
    assert model.predict([["True", "007", "NA", ""]]) == model.predict([["True", "007", "NA", None]])


def test_several_files_are_one_table_and_names_may_be_given(tmp_path: Path) -> None:
    rows = lines(header=False)
    (tmp_path / "a.csv").write_text("\n".join(rows[:100]))
    (tmp_path / "b.csv").write_text("\n".join(rows[100:]))
    table = read_table([tmp_path / "a.csv", tmp_path / "b.csv"], names=["flag", "zip", "note", "amount", "y"])
    assert (table.num_rows, table.column_names[-1]) == (ROWS, "y")


def test_a_line_end_in_quotes_ends_no_row(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('a,b\n"x\ny",1\n')
    assert read_table([tmp_path / "a.csv"]).to_pylist() == [{"a": "x\ny", "b": 1}]


def test_files_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    (tmp_path / "b.csv").write_text("a,c\n1,2\n")
    with pytest.raises(UserError, match=r"columns a, c, not a, b"):
        read_table([tmp_path / "a.csv", tmp_path / "b.csv"])
    (tmp_path / "c.csv").write_text("a,b\n1\n")
    with pytest.raises(UserError, match="cannot be read"):
        read_table([tmp_path / "c.csv"])


def test_white_space_around_a_field_is_ignored_as_when_it_is_served(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        "n, zip ,note,when,y\n 1, 007,a ,2026-01-01 , yes\n  ,007 , a,2026-01-02,yes\n2\t,7,\t, 2026-01-03,no \n"
    )
    table = read_table([tmp_path / "a.csv"], categories={"zip"})
    assert table.column_names == ["n", "zip", "note", "when", "y"]
    assert table["n"].to_pylist() == [1, None, 2]
    assert table["zip"].to_pylist() == ["007", "007", "7"]
    assert table["note"].to_pylist() == ["a", "a", ""]
    assert [str(each) for each in table["when"].to_pylist()] == ["2026-01-01", "2026-01-02", "2026-01-03"]
    assert table["y"].to_pylist() == ["yes", "yes", "no"]


def test_columns_that_differ_by_white_space_alone_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a, a,y\n1,2,3\n")
    with pytest.raises(UserError, match="more than one column 'a'"):
        read_table([tmp_path / "a.csv"])
