"""Every field of a checkpoint is checked when it is read."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.changelog.test_checkpoint import EXAMPLE, fields_of, resealed
from whimbrel.checkpoint import load, save
from whimbrel.errors import StateError


@pytest.mark.parametrize("wrong", [[], True, "-1"], ids=repr)
def test_every_field_is_checked(tmp_path: Path, wrong: object) -> None:
    path = tmp_path / "checkpoint.json"
    save(path, EXAMPLE)
    whole = json.loads(path.read_text())
    for *outer, name in fields_of(whole)[1:]:
        if name == "checksum":
            continue
        fields = json.loads(json.dumps(whole))
        inner = fields
        for step in outer:
            inner = inner[step]
        if type(inner[name]) is str and type(wrong) is str and name != "loaded":
            continue  # any text is a name
        inner[name] = wrong
        path.write_text(resealed(fields))
        with pytest.raises(StateError) as error:
            load(path)
        assert name in str(error.value) or "chunk numbers" in str(error.value) or "invalid literal" in str(error.value)


def test_every_field_must_be_there(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.json"
    save(path, EXAMPLE)
    whole = json.loads(path.read_text())
    for *outer, name in fields_of(whole)[1:]:
        if outer in (["tables"], ["counters"]) or name == "checksum":
            continue  # these names are the project's own
        fields = json.loads(json.dumps(whole))
        inner = fields
        for step in outer:
            inner = inner[step]
        del inner[name]
        path.write_text(resealed(fields))
        with pytest.raises(StateError, match=name):
            load(path)


def test_a_field_that_this_version_does_not_know_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.json"
    save(path, EXAMPLE)
    whole = json.loads(path.read_text())
    for outer in [[], ["start"], ["applied"], ["applied_position"], ["tables", "shop.purchase"]]:
        fields = json.loads(json.dumps(whole))
        inner = fields
        for step in outer:
            inner = inner[step]
        inner["strange"] = 1
        path.write_text(resealed(fields))
        with pytest.raises(StateError, match="'strange' is unknown"):
            load(path)


def test_no_part_of_it_can_move_unnoticed(tmp_path: Path) -> None:
    """Bytes and lines exchanged, left out, or taken from an older checkpoint."""
    path, older = tmp_path / "checkpoint.json", tmp_path / "older.json"
    save(path, EXAMPLE)
    save(older, replace(EXAMPLE, phase="load").with_counted("dead letters", 4))
    whole, past = path.read_bytes(), older.read_bytes()
    lines, past_lines = whole.splitlines(keepends=True), past.splitlines(keepends=True)
    damaged = [whole[:at] + whole[at + 1 :] for at in range(len(whole))]
    damaged += [whole[:at] + whole[at : at + 2][::-1] + whole[at + 2 :] for at in range(len(whole))]
    damaged += [b"".join(lines[:at] + past_lines[at:]) for at in range(len(lines))]
    for one, other in itertools.combinations(range(len(lines)), 2):
        moved = list(lines)
        moved[one], moved[other] = moved[other], moved[one]
        damaged.append(b"".join(moved))
    refused = 0
    for data in damaged:
        if data in (whole, past):
            continue
        path.write_bytes(data)
        try:
            found = load(path)
        except StateError:
            refused += 1
        else:
            assert found == EXAMPLE, data
    assert refused > len(whole)
