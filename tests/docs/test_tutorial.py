"""The tutorial, typed as it stands into a playground of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.typed import Typed, is_as_shown, typed

ROOT = Path(__file__).parent.parent.parent
NEXT = "---- next ----"
EDITED = """python - <<'END'
from pathlib import Path
file = Path("whimbrel.toml")
kept, _, _ = file.read_text().partition("[[table]]")
file.write_text(kept + {toml!r})
END"""


@pytest.mark.timeout(300)
def test_the_tutorial_is_what_happens(tmp_path: Path) -> None:
    steps = list(typed(ROOT / "docs" / "tutorial.md"))
    assert len(steps) > 20
    script = f"\necho '{NEXT}'\n".join(each.command or EDITED.format(toml=each.toml) for each in steps)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "demo.playground", "bash", "-c", f"exec 2>&1\n{script}"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
    )
    seen = done.stdout.split(f"{NEXT}\n")
    assert (done.stderr, len(seen)) == ("", len(steps)), done.stdout
    others = [told(step, text) for step, text in zip(steps, seen, strict=True) if not is_as_shown(step.shown, text)]
    assert not others, "\n".join(others)


def told(step: Typed, seen: str) -> str:
    return f"docs/tutorial.md:{step.line}: {step.command}\n{seen}"


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
