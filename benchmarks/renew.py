"""A renewal, step by step: a table is exported again by comparing, with one item in a hundred changed, made a data set,
a model is trained from that, and the gate compares it with the one before. Each is a process of its own.

``python -m benchmarks.renew [--json] [--items N] [--rounds N] [--beside SRC]``. ``SRC`` is the ``src`` folder of
another version, which does the same in the same run, command by command, with the same table.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.commands import Used, run
from benchmarks.kept_items import kept_items
from benchmarks.lake import put
from whimbrel.project import Target
from whimbrel.records import Item

PROJECT = """
[target]
endpoint = "{endpoint}"
region = "us-east-1"
[[dataset]]
table = "items"
name = "items"
[[model]]
name = "bought"
dataset = "items"
target = "bought"
exclude = ["pk", "sk"]
learner = "{learner}"
[[renewal]]
model = "bought"
"""
AGAIN = {
    "export by comparing": ("export", "items", "--compare"),
    "convert": ("convert", "items"),
    "train": ("train",),
}
CHANGED = 100  # one in so many


@dataclass
class Result:
    """Medians of the rounds."""

    step: str
    version: str
    cpu_us: float  # an item
    wall_us: float
    peak_mb: int


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--learner", choices=("linear", "boosted"), default="linear")
    parser.add_argument("--beside", type=Path, help="the src folder of another version")
    options = parser.parse_args()
    os.environ.update(AWS_ACCESS_KEY_ID="local", AWS_SECRET_ACCESS_KEY="local")
    versions = {"whimbrel": None} | ({"beside": options.beside.absolute()} if options.beside else {})
    results = measured(options.items, options.rounds, options.learner, versions)
    print(json.dumps([asdict(each) for each in results], indent=2) if options.json else table(results, options.items))


def measured(items: int, rounds: int, learner: str, versions: dict[str, Path | None]) -> list[Result]:
    seen: dict[tuple[str, str], list[Used]] = {}
    with tempfile.TemporaryDirectory() as name, kept_items("items", "pk", "sk") as endpoint:
        projects = {version: Path(name) / version / "whimbrel.toml" for version in versions}
        for project in projects.values():
            project.parent.mkdir()
            project.write_text(PROJECT.format(endpoint=endpoint, learner=learner), encoding="utf-8")
        target = Target(endpoint=endpoint, region="us-east-1")
        put(target, (item(number, 0) for number in range(items)))

        def each(step: str, *command: str) -> None:
            for version, code in versions.items():
                seen.setdefault((step, version), []).append(run(command, projects[version], code))

        each("export, whole", "export", "items")
        each("renew, the first", "renew")
        for turn in range(1, rounds + 1):
            put(target, changed(items, 2 * turn))
            for step, command in AGAIN.items():
                each(step, *command)
            put(target, changed(items, 2 * turn + 1))
            each("renew", "renew")
    return [Result(step, version, *_medians(used, items)) for (step, version), used in seen.items()]


def _medians(used: list[Used], items: int) -> tuple[float, float, int]:
    cpu, wall = (round(statistics.median(values) / items * 1e6, 1) for values in list(zip(*used, strict=True))[:2])
    return cpu, wall, max(each.peak_mb for each in used)


def changed(items: int, turn: int) -> Iterator[Item]:
    return (item(number, turn) for number in range(turn, items, CHANGED))


def item(number: int, turn: int) -> Item:
    """Six amounts, seven properties of some values each, and what came of it, which some amounts tell."""
    mixed = number * 2_654_435_761 + turn * 40_503 & 0xFFFFFFFF
    amounts = [mixed >> 3 * each & 0x3FF for each in range(6)]
    found: Item = {"pk": {"S": f"customer-{number // 10:07}"}, "sk": {"S": f"order-{number:08}"}}
    found |= {f"amount{each}": {"N": str(amount)} for each, amount in enumerate(amounts)}
    found |= {f"property{each}": {"S": f"value {mixed >> 4 * each & 0xF}"} for each in range(7)}
    return found | {"bought": {"S": "yes" if amounts[0] + amounts[2] + amounts[5] % 300 > 1_300 else "no"}}


def table(results: list[Result], items: int) -> str:
    lines = [f"{f'{items:,} items of 16 attributes':<34}{'CPU µs':>10}{'wall µs':>9}   an item{'peak MB':>10}"]
    lines += [
        f"{each.step:<22}{each.version:<12}{each.cpu_us:>10}{each.wall_us:>9}{'':>10}{each.peak_mb:>10}"
        for each in results
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
