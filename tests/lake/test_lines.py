"""Lines, many at once: each as it is by itself."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whimbrel.lake import lines as module
from whimbrel.lake.lines import UTF8_MARK, lines

PIECES = st.sampled_from([b"x", b"\n", b"\n", b"\r", b"\r\n", UTF8_MARK, b"y" * 7, b'{"a":1}'])


@given(st.lists(PIECES, max_size=30).map(b"".join), st.integers(1, 12), st.booleans())
def test_lines_are_what_they_are_one_by_one(data: bytes, block: int, returns: bool) -> None:
    most, each = 9, data.split(b"\n")
    wanted = [line[: most + 1] if returns else line[: most + 1].rstrip(b"\r") for line in each]
    wanted[0] = wanted[0].removeprefix(UTF8_MARK)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_FIRST_BLOCK", 1)
        patch.setattr(module, "_BLOCK", block)
        patch.setattr(module, "MAX_LINE", most)
        path = Path(folder, "file")
        path.write_bytes(data)
        assert list(lines(path, returns=returns)) == (wanted if each[-1] else wanted[:-1])
