"""The ``[cutover]`` part of the project file."""

from __future__ import annotations

from pathlib import Path

import pytest

from whimbrel.errors import ProjectError
from whimbrel.project import Cutover, Project, load_project


def loaded(folder: Path, section: str) -> Project:
    file = folder / "whimbrel.toml"
    file.write_text(f'[source]\nurl = "mysql://u@h/d"\n[target]\nregion = "us-east-1"\n{section}')
    return load_project(file)


def test_without_the_section_its_defaults_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WHIMBREL_REVERSE_PASSWORD", raising=False)
    assert loaded(tmp_path, "").cutover == Cutover()


def test_every_key_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "hidden")
    found = loaded(
        tmp_path,
        """[cutover]
before = ["./pause", "now"]
on_switch = ["./switch"]
on_switch_url = "http://127.0.0.1:1/switch"
route_file = "route.json"
route_item = true
lease_seconds = 1
max_stall = 0.5
max_lag = 1.5
verified_within = 2
reverse_user = "back"
reverse_password_env = "SECRET"
new_attributes = "json:more"
ttl = "skip"
""",
    ).cutover
    assert (found.before, found.route_item, found.max_stall) == (("./pause", "now"), True, 0.5)
    assert (found.reverse_user, found.reverse_password, found.new_attributes) == ("back", "hidden", "json:more")
    assert "hidden" not in repr(found)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('fence = "flag"', "cutover.fence: must be 'triggers' or 'read-only-schema' or 'revoke' or 'command'"),
        ('fence = "command"', "cutover.fence_command: is missing: fence = 'command' needs it"),
        ('fence = "revoke"', "cutover.revoke_from: is missing"),
        ('fence = "read-only-schema"', "cutover.schema: is missing"),
        ('fence = "read-only-schema"\nschema = "own"\nreverse_user = "back"', "cutover.reverse_user: nobody can write"),
        ('fence_command = ["./close"]', "cutover.fence_command: is for fence = 'command'"),
        (
            'fence = "revoke"\nrevoke_from = ["app"]\nwaived_accounts = ["root@"]',
            "cutover.waived_accounts: must be",
        ),
        ('new_attributes = "json:"', "cutover.new_attributes: must be"),
        ('new_attributes = "column"', "cutover.new_attributes: must be"),
        ('on_switch_url = "http://user:secret@h/"', "cutover.on_switch_url: has a user or password"),
        ('on_switch_url = "ftp://h/"', "cutover.on_switch_url: must begin with http"),
        ("max_stall = 0", "cutover.max_stall: must be more than 0"),
        ("lease_secnds = 1", "did you mean 'lease_seconds'?"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(ProjectError) as caught:
        loaded(tmp_path, f"[cutover]\n{line}\n")
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)
