"""Pages that are typed as they stand, each into its own playground, and their output compared.

A page of ``before/`` takes something for granted, a table or a project file: that is made by the script of its name.
`make test` types the tutorial, `make test-docs` all of them.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT, blocks
from tests.docs.typed import Typed, is_as_shown, typed

NEXT = "---- next ----"
# A text that begins with [[table]] stands instead of the file's own tables; any other is added.
EDITED = """python - <<'END'
from pathlib import Path
file = Path("whimbrel.toml")
text, new = file.read_text(), {toml!r}
file.write_text((text.partition("[[table]]")[0] if new.startswith("[[table]]") else text) + "\\n" + new)
END"""
RUN = "{{ python - <<'END'\n{python}\nEND\n}} || echo \"failed: $?\""
# Until the next one, or the end: each `whimbrel serve` takes the place of the one before it.
SERVE = (
    "kill ${{SERVER:-}} 2>/dev/null; wait ${{SERVER:-}} 2>/dev/null; {command} --port 8080 >serve.txt 2>&1 & SERVER=$!"
)
READY = "timeout 60 bash -c 'until curl -sf http://127.0.0.1:8080/ping; do :; done'"
OPENED = "timeout 60 bash -c 'until [ -s console.txt ]; do :; done'"
SAID = "timeout 60 bash -c 'until [ -s schedule.txt ]; do :; done'"
# What a person ends or answers is ended and answered; where a page names a server, it is the playground's.
AS = {
    "whimbrel migrate": "whimbrel migrate --until-caught-up",
    "whimbrel migrate --dms rules.json": "whimbrel migrate --until-caught-up --dms rules.json",
    "whimbrel console": f"whimbrel console >console.txt 2>&1 & {OPENED} && cat console.txt",
    "whimbrel converge": "whimbrel converge --until-caught-up",
    "whimbrel cutover": "whimbrel cutover --yes --until-open",
    "whimbrel rollback": "whimbrel rollback --yes",
    "whimbrel schedule": f"whimbrel schedule >schedule.txt 2>&1 & {SAID} && kill $! && wait $! || [ $? = 130 ]",
    "export WHIMBREL_SOURCE_PASSWORD=…": "true",
}
# What needs more than a playground, as an export of a migration, AWS, or the copy of the repository.
ELSEWHERE = (
    "--as-of-position ",
    "--engine athena",
    "--source-is-gone",
    "--waive-dead-letters",
    "aws package ",
    "cd package",
    "cp .whimbrel/dead.jsonl",
    "curl -sO https:",
    "ministack",
    "needs no source any more",
    "podman ",
    "or, instead:",
    "scripts/",
)
PREPARED = ("make ", "pip ", "sudo apt-get ", "python3 -m venv ")  # before the playground is entered
BEFORE = Path(__file__).parent / "before"
PURCHASE, PROJECT = ("purchase.sh",), ("purchase.sh", "project.sh")
SLOW = {
    "README.md": ("readme.sh",),
    "docs/api.md": PROJECT,
    "docs/aws.md": (*PROJECT, "stream.sh"),
    "docs/check.md": (*PROJECT, "app.sh"),
    "docs/console.md": (*PROJECT, "migrated.sh"),
    "docs/cutover.md": (*PROJECT, "migrated.sh"),
    "docs/design.md": (*PURCHASE, "app.sh"),
    "docs/dms.md": ("dms.sh",),
    "docs/formats.md": (*PROJECT, "formats.sh"),
    "docs/getting-started.md": PURCHASE,
    "docs/kinesis.md": (*PROJECT, "stream.sh", "function.sh"),
    "docs/lake.md": ("bank.sh",),
    "docs/large-tables.md": PROJECT,
    "docs/mariadb.md": PURCHASE,
    "docs/mysql.md": PURCHASE,
    "docs/predictions.md": (),
    "docs/rds-aurora.md": PURCHASE,
    "docs/renew.md": ("renew.sh",),
    "docs/sagemaker.md": ("renewal.sh",),
    "docs/serve.md": ("serve.sh",),
    "docs/single-table.md": (),
    "docs/spark.md": (*PROJECT, "stream.sh"),
    "docs/warehouse.md": ("warehouse.sh",),
}
# Their output is of other tables than a test has: only whether a command works is asked.
ILLUSTRATED = ("docs/check.md", "docs/design.md", "docs/getting-started.md")
# Commands of these are parsed, and not typed: why.
PARSED = {
    "CONTRIBUTING.md": "the suite itself",
    "docs/index.md": "the demo and the playground",
    "docs/lake-iceberg.md": "Athena, which lake/test_athena.py stands in for",
    "docs/mutants.md": "hours",
    "docs/running.md": "systemd and podman",
    "docs/sizing.md": "run by test_sizing.py",
}
PAGES = [
    pytest.param("docs/tutorial.md", (), id="tutorial"),
    *(pytest.param(*each, id=Path(each[0]).stem, marks=(pytest.mark.slow, pytest.mark.docs)) for each in SLOW.items()),
]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("page", "before"), PAGES)
def test_the_page_is_what_happens(page: str, before: tuple[str, ...], tmp_path: Path) -> None:
    steps = [step for step in typed(ROOT / page) if not is_elsewhere(step, bool(before))]
    if page in ILLUSTRATED:
        steps = [replace(step, shown=None) for step in steps]
    assert steps
    port = free_port()
    first = "".join((BEFORE / name).read_text() for name in before)
    lines = f"\necho '{NEXT}'\n".join(map(line, steps))
    script = (
        f"trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT\n{{\n:\n{first}}} >before.txt 2>&1 || cat before.txt\n{lines}"
    )
    seen = in_a_playground(f"exec 2>&1\n{script}".replace("8080", str(port)), tmp_path).split(f"{NEXT}\n")
    assert len(seen) == len(steps), seen
    both = zip(steps, seen, strict=True)
    others = [f"{page}:{step.line}: {step.command}\n{text}" for step, text in both if not is_as(step, text)]
    assert not others, "\n".join(others)


def test_every_page_with_a_command_is_typed_or_says_why_not() -> None:
    """And a program is run with its page."""
    named = {str(block.page.relative_to(ROOT)) for block in blocks("console")}
    assert named - SLOW.keys() - {"docs/tutorial.md"} == PARSED.keys()
    programs = {str(block.page.relative_to(ROOT)) for block in blocks("python") if "import " in block.text}
    assert programs <= SLOW.keys()


def is_elsewhere(step: Typed, prepared: bool) -> bool:
    """``prepared``: the project file is there already."""
    if step.python:
        return "import " not in step.python  # a part of a program, or a signature
    return (
        step.command.startswith(PREPARED)
        or any(map(step.command.__contains__, ELSEWHERE))
        or bool(prepared and step.toml)
    )


def line(step: Typed) -> str:
    """Of the shell. Where the page shows no output, a failure is told."""
    if step.toml:
        return EDITED.format(toml=step.toml)
    if step.python:
        return RUN.format(python=step.python)
    command = re.sub(r"mysql://\S+( --tls-ca \S+)?", '"$SOURCE"', step.command)
    command = re.sub(r"\s+#.*", "", command)
    command = AS.get(command, command)
    if command.startswith("whimbrel serve"):
        return f"{SERVE.format(command=command)}\n{READY} || cat serve.txt"
    return command if step.shown is not None else f'{{ {command}\n}} || echo "failed: $?"'


def is_as(step: Typed, seen: str) -> bool:
    if step.shown is None:
        return "failed: " not in seen
    return is_as_shown(step.shown, seen)


def in_a_playground(script: str, folder: Path) -> str:
    """What the script printed."""
    done = subprocess.run(
        [sys.executable, "-m", "demo.playground", "bash", "-c", script],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.stderr == ""
    return done.stdout


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


@pytest.mark.parametrize(
    ("shown", "seen", "same"),
    [
        (("a", "b"), "a\nb\n", True),
        (("a", "…"), "a\nb\nc\n", True),
        (("…", "c"), "a\nb\nc\n", True),
        (("…", "c"), "a\nb\n", False),
        (("a …",), "a 12 ms\n", True),
        (("a …",), "a 12 ms\nb\n", False),
        ((), "", True),
        ((), "an error\n", False),
        (("…",), "", True),
    ],
)
def test_what_a_page_shows_is_compared_line_by_line(shown: tuple[str, ...], seen: str, same: bool) -> None:
    assert is_as_shown(shown, seen) is same


def test_a_block_without_output_is_only_asked_whether_it_worked() -> None:
    step = Typed(1, "false", None)
    assert line(step) == '{ false\n} || echo "failed: $?"'
    assert not is_as(step, "failed: 1\n")
    assert is_as(step, "much\n")


def test_what_a_person_ends_is_ended() -> None:
    assert line(Typed(1, "whimbrel migrate    # then Ctrl-C", ())) == "whimbrel migrate --until-caught-up"
    assert line(Typed(1, "whimbrel init mysql://u@h/d", ())) == 'whimbrel init "$SOURCE"'
