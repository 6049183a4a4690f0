"""The bank's made-up calls: the same for the same seed, in the form of the original, and getting better with time."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from demo import bank


def test_a_seed_makes_the_same_calls() -> None:
    assert list(bank.rows(200, 7)) == list(bank.rows(200, 7)) != list(bank.rows(200, 8))


def test_rows_have_the_columns_of_the_post_and_their_types() -> None:
    for row in bank.rows(500, 1):
        assert {name: type(value) for name, value in row.items()} == bank.TYPES
        assert tuple(row) == bank.COLUMNS


def test_the_share_of_yes_rises_with_time() -> None:
    answers = [bool(row["y"]) for row in bank.rows(20_000, 0)]
    assert 0.09 < sum(answers) / len(answers) < 0.14
    assert sum(answers[:5_000]) * 5 < sum(answers[-5_000:])


def test_items_have_words_as_s_and_numbers_as_n() -> None:
    [row] = bank.rows(1, 0)
    item = bank.item(row | {"nr_employed": 5191.0, "emp_var_rate": -1.8})
    assert item["customer_id"] == {"S": "1"}
    assert item["nr_employed"] == {"N": "5191"}
    assert item["emp_var_rate"] == {"N": "-1.8"}


def test_the_original_is_read(tmp_path: Path) -> None:
    names = [name.replace("_", ".") if "_" in name and name != "day_of_week" else name for name in bank.COLUMNS[1:]]
    file = tmp_path / "bank-additional-full.csv"
    line = '41;"services";"single";"basic.4y";"no";"no";"no";"telephone";"may";"mon";9;1;999;0;"nonexistent"'
    head = ";".join(f'"{name}"' for name in names)
    file.write_text(f'{head}\n{line};1.1;93.994;-36.4;4.857;5191;"yes"\n')
    [row] = bank.read_original(file)
    assert tuple(row) == bank.COLUMNS
    assert (row["age"], row["nr_employed"], row["y"]) == (41, 5191.0, 1)
    file.write_text(f'{head}\n{line};1.1;93.994;-36.4;4.857;5191;"maybe"\n')
    with pytest.raises(SystemExit, match="line 2"):
        list(islice(bank.read_original(file), 1))
