"""A bank's telephone campaign: made-up calls with the columns of the UCI Bank Marketing data and of similar difficulty.

``rows`` gives them in the order of time. As in the original, three years pass, the times get worse, the bank calls
fewer and better chosen customers, and so the share of those who say yes rises from 3 to 50 %: a model that is never
renewed falls behind. ``read_original`` reads the original file instead (S. Moro, P. Cortez, P. Rita, 2014, CC BY 4.0;
``bank-additional-full.csv``), which is not part of this project.

    python -m demo.bank --endpoint http://127.0.0.1:8000 --table bank [--data bank-additional-full.csv] [--rows 41188]
"""

from __future__ import annotations

import argparse
import csv
import math
import random
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from itertools import accumulate, islice
from pathlib import Path
from typing import NamedTuple

from whimbrel.dynamodb.session import open_client
from whimbrel.dynamodb.tables import ensure_table
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.dynamodb.write import Writer
from whimbrel.project import Target
from whimbrel.records import Item, Put

BankRow = dict[str, str | int | float]

# Names and types as in the post's CREATE EXTERNAL TABLE, behind the item's key.
TYPES: dict[str, type[str] | type[int] | type[float]] = {
    "customer_id": str,
    "age": int,
    "job": str,
    "marital": str,
    "education": str,
    "default": str,
    "housing": str,
    "loan": str,
    "contact": str,
    "month": str,
    "day_of_week": str,
    "duration": int,
    "campaign": int,
    "pdays": int,
    "previous": int,
    "poutcome": str,
    "emp_var_rate": float,
    "cons_price_idx": float,
    "cons_conf_idx": float,
    "euribor3m": float,
    "nr_employed": float,
    "y": int,
}
COLUMNS = tuple(TYPES)
ORIGINAL_ROWS = 41_188


class Period(NamedTuple):
    """One month of the campaign: its share of all calls, the state of the economy, the log-odds of a yes."""

    month: str
    share: float
    employment: float
    prices: float
    confidence: float
    interest: float
    employed: float
    log_odds: float


PERIODS = tuple(
    Period(*each)
    for each in (
        ("may", 190, 1.0, 94.0, -36.5, 4.86, 5190.0, -3.45),
        ("jun", 105, 1.3, 94.5, -42.0, 4.94, 5230.0, -3.1),
        ("jul", 160, 1.3, 93.9, -43.0, 4.96, 5230.0, -2.95),
        ("aug", 125, 1.3, 93.4, -36.0, 4.97, 5230.0, -3.1),
        ("oct", 2, -0.2, 93.8, -40.5, 4.8, 5195.0, 0.1),
        ("nov", 88, -0.2, 93.2, -42.0, 4.1, 5195.0, -3.05),
        ("dec", 1, -0.3, 92.8, -46.0, 3.1, 5175.0, -1.5),
        ("mar", 7, -1.7, 92.8, -50.0, 1.6, 5100.0, -0.4),
        ("apr", 60, -1.7, 93.1, -47.0, 1.4, 5100.0, -1.8),
        ("may", 140, -1.7, 92.9, -46.0, 1.3, 5100.0, -2.6),
        ("jun", 18, -2.8, 93.0, -41.0, 1.2, 5075.0, -0.8),
        ("jul", 5, -2.8, 92.5, -33.5, 1.0, 5075.0, -0.8),
        ("aug", 19, -2.8, 92.2, -31.5, 0.9, 5075.0, -0.9),
        ("sep", 7, -3.3, 92.4, -30.0, 0.8, 5020.0, -0.7),
        ("oct", 11, -3.3, 92.4, -27.0, 0.75, 5020.0, -0.7),
        ("nov", 9, -3.3, 92.6, -30.0, 0.72, 5020.0, -0.4),
        ("dec", 4, -2.9, 92.7, -33.0, 0.71, 5025.0, -0.2),
        ("mar", 7, -1.7, 93.4, -35.0, 0.64, 5010.0, 0.0),
        ("apr", 4, -1.7, 93.7, -34.5, 0.65, 5010.0, 0.0),
        ("may", 5, -1.7, 93.9, -40.0, 0.67, 5010.0, 0.0),
        ("jun", 6, -1.6, 94.1, -40.0, 0.72, 4990.0, -0.4),
        ("jul", 8, -1.6, 94.2, -40.5, 0.8, 4990.0, 0.0),
        ("aug", 6, -1.6, 94.0, -38.5, 0.88, 4990.0, -0.2),
        ("sep", 8, -1.0, 94.2, -37.5, 0.89, 4965.0, -0.3),
        ("oct", 5, -1.0, 94.6, -49.5, 1.02, 4965.0, -0.4),
        ("nov", 3, -1.0, 94.8, -51.0, 1.04, 4965.0, -0.4),
    )
)

# How often a category occurs, and what it adds to the log-odds of a yes.
JOBS = {
    "admin.": (25, 0.1),
    "blue-collar": (22, -0.3),
    "technician": (16, 0.0),
    "services": (10, -0.2),
    "management": (7, 0.0),
    "retired": (4, 0.4),
    "entrepreneur": (4, -0.1),
    "self-employed": (3, 0.0),
    "housemaid": (3, -0.1),
    "unemployed": (2, 0.1),
    "student": (2, 0.5),
    "unknown": (1, 0.0),
}
MARITAL = {"married": (60, 0.0), "single": (28, 0.1), "divorced": (11, -0.1), "unknown": (0.2, 0.1)}
EDUCATION = {
    "university.degree": (30, 0.15),
    "high.school": (23, 0.0),
    "basic.9y": (15, -0.15),
    "professional.course": (13, 0.0),
    "basic.4y": (10, -0.1),
    "basic.6y": (6, -0.1),
    "unknown": (4, 0.1),
    "illiterate": (0.05, 0.2),
}
DEFAULT = {"no": (79, 0.05), "unknown": (21, -0.35), "yes": (0.01, -0.5)}
HOUSING = {"yes": (52, 0.0), "no": (45, 0.0), "unknown": (2.4, 0.0)}
DAYS = {"mon": (21, -0.2), "tue": (20, 0.05), "wed": (20, 0.1), "thu": (21, 0.1), "fri": (19, -0.05)}
Categories = Mapping[str, tuple[float, float]]
NOT_IN_THE_DATA = 0.75  # what decides a yes besides the columns, as a standard deviation of the log-odds


def rows(count: int, seed: int) -> Iterator[BankRow]:
    """``count`` made-up calls in the order of time, keys in COLUMNS' order; the same for the same arguments."""
    chance = random.Random(seed)
    shares = list(accumulate(period.share for period in PERIODS))
    at = 0
    for number in range(count):
        while (number + 0.5) / count * shares[-1] > shares[at]:
            at += 1
        yield _call(number + 1, PERIODS[at], chance)


def _call(number: int, period: Period, chance: random.Random) -> BankRow:
    job, marital = _pick(JOBS, chance), _pick(MARITAL, chance)
    education, default = _pick(EDUCATION, chance), _pick(DEFAULT, chance)
    housing, day = _pick(HOUSING, chance), _pick(DAYS, chance)
    age = _age(job, chance)
    late = period.employment < 0
    contact = "cellular" if chance.random() < (0.88 if late or period.month in ("jul", "aug") else 0.1) else "telephone"
    previous, poutcome, pdays = _history(late, period.log_odds > -1, chance)
    campaign = min(56, 1 + int(chance.expovariate(0.9 if late else 0.55)))
    log_odds = (
        period.log_odds
        + JOBS[job][1]
        + MARITAL[marital][1]
        + EDUCATION[education][1]
        + DEFAULT[default][1]
        + DAYS[day][1]
        + (0.25 if contact == "cellular" else -0.35)
        + {"success": 1.7, "failure": -0.25, "nonexistent": 0.0}[poutcome]
        + 0.3 * (age < 26 or age > 60)
        - 0.05 * min(campaign, 10)
        + chance.gauss(-0.1, NOT_IN_THE_DATA)
    )
    y = int(chance.random() < 1 / (1 + math.exp(-log_odds)))
    return {
        "customer_id": str(number),
        "age": age,
        "job": job,
        "marital": marital,
        "education": education,
        "default": default,
        "housing": housing,
        "loan": "unknown" if housing == "unknown" else "yes" if chance.random() < 0.155 else "no",
        "contact": contact,
        "month": period.month,
        "day_of_week": day,
        "duration": _duration(y, period.log_odds, chance),
        "campaign": campaign,
        "pdays": pdays,
        "previous": previous,
        "poutcome": poutcome,
        "emp_var_rate": period.employment,
        "cons_price_idx": period.prices,
        "cons_conf_idx": period.confidence,
        "euribor3m": round(period.interest + chance.choice((-0.004, -0.002, -0.001, 0.0, 0.0, 0.001, 0.003)), 3),
        "nr_employed": period.employed,
        "y": y,
    }


def _pick(categories: Categories, chance: random.Random) -> str:
    point, total = chance.random() * sum(share for share, _ in categories.values()), 0.0
    for name, (share, _) in categories.items():
        total += share
        if point < total:
            return name
    return name


def _age(job: str, chance: random.Random) -> int:
    if job == "student":
        return max(17, round(chance.gauss(26, 5)))
    if job == "retired":
        return min(98, max(40, round(chance.gauss(62, 10))))
    return min(75, max(19, round(22 + chance.gammavariate(3.4, 5.0))))


def _history(late: bool, chosen: bool, chance: random.Random) -> tuple[int, str, int]:
    """(previous, poutcome, pdays): later on more customers were called before, and then those who had said yes."""
    if chance.random() >= (0.38 if chosen else 0.24 if late else 0.025):
        return 0, "nonexistent", 999
    previous = min(7, 1 + int(chance.expovariate(1.4)))
    if chance.random() < (0.55 if chosen else 0.1):
        return previous, "success", min(27, max(0, round(chance.gauss(6, 3))))
    return previous, "failure", 999


def _duration(y: int, log_odds: float, chance: random.Random) -> int:
    """Seconds: those who say yes talk longer, and much longer where few say yes."""
    middle = (620.0 if log_odds < -1.5 else 330.0) if y else 155.0
    return min(4900, round(chance.lognormvariate(math.log(middle), 0.5 if y else 0.8)))


def read_original(path: Path) -> Iterator[BankRow]:
    """The original's rows (``;``-separated, with a header), numbered from 1 as ``customer_id``; ``y`` is 0 or 1.

    Raises SystemExit, naming the line, when a row is not of that form.
    """
    with path.open(newline="", encoding="utf-8") as file:
        for number, row in enumerate(csv.DictReader(file, delimiter=";"), 1):
            values = {name.replace(".", "_"): value for name, value in row.items()}
            values |= {"customer_id": str(number), "y": {"yes": "1", "no": "0"}.get(values.get("y", ""), "?")}
            try:
                yield {name: kind(values[name]) for name, kind in TYPES.items()}
            except (KeyError, ValueError) as error:
                sys.exit(f"{path}, line {number + 1}: not a row of bank-additional-full.csv: {error!r}")


def calls(data: Path | None, count: int, seed: int) -> Iterator[BankRow]:
    """The original's rows where there is a file, else made-up ones."""
    return islice(read_original(data), count) if data else rows(count, seed)


def item(row: BankRow) -> Item:
    """The row as the post's item: ``customer_id`` and the words as S, the numbers as N."""
    return {name: {"S": value} if isinstance(value, str) else {"N": _number(value)} for name, value in row.items()}


def put(bank_rows: Iterable[BankRow], target: Target, table: str) -> int:
    """Write the rows into ``table``, which is made if there is none; how many they were."""
    ensure_table(open_client(target), table, [("customer_id", "S")], target, allow_items=True)
    written, rest = 0, iter(bank_rows)
    with closing(DynamoClient(target)) as wire:
        writer = Writer(wire, target)
        while part := [item(row) for row in islice(rest, 2_500)]:
            rejected = writer.write([Put(table, {"customer_id": each["customer_id"]}, each) for each in part])
            if rejected:
                sys.exit(f"refused: {rejected[0]}")
            written += len(part)
    return written


def _number(value: int | float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--endpoint", default="", help="a DynamoDB-compatible server; without it, AWS")
    parser.add_argument("--table", default="bank")
    parser.add_argument("--data", type=Path, help="the original bank-additional-full.csv instead of made-up rows")
    parser.add_argument("--rows", type=int, default=ORIGINAL_ROWS)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    target = Target(endpoint=asked.endpoint)
    print(f"{put(calls(asked.data, asked.rows, asked.seed), target, asked.table):,} items in {asked.table}")


if __name__ == "__main__":
    main()
