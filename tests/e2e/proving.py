"""A migrate that follows, and that something ends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.e2e.work import Work


def ended(work: Work, process: Any) -> str:
    """What a migrate that was running says as it stops by itself, with the exit code for a source it cannot follow."""
    out, err = process.communicate(timeout=60)
    assert process.returncode in (2, 3), f"{process.returncode}\n{out}\n{err}"
    assert "Traceback" not in err
    return str(err)


@contextmanager
def following(work: Work) -> Iterator[Any]:
    (work.state / "status.json").unlink(missing_ok=True)
    process = work.start("migrate")
    try:
        work.wait_for(lambda: applying(work), process)
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def applying(work: Work) -> bool:
    try:
        status = json.loads((work.state / "status.json").read_text())
    except (FileNotFoundError, ValueError):
        return False
    return status["phase"] == "apply" and status["asked"] is not None
