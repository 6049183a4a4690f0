"""Write the expected.json of cases, for a person to read line by line before it is committed:

    python -m tests.cases.write [--mysql] NAME…

By the snapshot alone (way A), so that a test still says something; --mysql writes expected.mysql.json.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from demo.servers import MariaDB, Ministack, MySQL
from tests.cases.case import CASES, Case, Items
from tests.cases.ways import Way


def write(names: list[str], kind: type[MariaDB | MySQL], file: str) -> None:
    with tempfile.TemporaryDirectory() as folder, kind() as server, Ministack() as endpoint:
        cases = [Case(CASES / name) for name in names]
        for case in cases:
            server.execute(f"CREATE DATABASE `{case.name}`")
            for step in ("schema", "data", "changes"):
                case.run(server, step)
        way = Way("A", cases, server, endpoint, Path(folder, "A"))
        way.migrate()
        for case in cases:
            text = lines(way.items(case))
            (case.folder / file).write_text(text, encoding="utf-8")
            print(case.name, way.dead(case) or "", text, sep="\n")


def lines(targets: dict[str, Items]) -> str:
    """One item a line."""
    texts = []
    for target, items in targets.items():
        listed = ",\n".join(f"  {json.dumps(item, ensure_ascii=False)}" for item in items)
        texts.append(f"{json.dumps(target)}: [\n{listed}\n]" if items else f"{json.dumps(target)}: []")
    return "{" + ", ".join(texts) + "}\n"


if __name__ == "__main__":
    chosen = [argument for argument in sys.argv[1:] if argument != "--mysql"]
    if "--mysql" in sys.argv:
        write(chosen, MySQL, "expected.mysql.json")
    else:
        write(chosen, MariaDB, "expected.json")
