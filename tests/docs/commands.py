"""Whether a command that a page prints could be typed: by the parser of the program itself where it is whimbrel or
AWS's CLI, by what is in the repository where it is ``make``, ``pip`` or a script.
"""

from __future__ import annotations

import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import awscli.clidriver
import click
from packaging.requirements import Requirement

from tests.docs.blocks import ROOT
from whimbrel.cli.main import main

# Programs of others that are named as they are: what they are given is not ours.
OTHERS = {
    "$EDITOR",
    ".",
    "cd",
    "cp",
    "curl",
    "export",
    "git",
    "items",
    "pipx",
    "podman",
    "sql",
    "sudo",
    "zip",
    "openssl",
}
OTHERS |= {"cat", "grep", "head", "ls", "tail"}
OTHERS |= {"apt-get", "chmod", "install", "journalctl", "mkdir", "mariadb", "mysql", "sed", "tar", "watch"}
SEPARATORS = {"&&", "||", ";", "|", "&", "(", ")", "<", ">", ">>", ";;", ")|"}


def faults(line: str) -> list[str]:
    """What is wrong with each simple command of a shell's line."""
    return [fault for words in _simple(line) if (fault := _fault(words))]


def _simple(line: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(line.replace("\\\n", " "), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    for word in lexer:
        if word in SEPARATORS:
            yield words
            words = []
        elif words or not re.fullmatch(r"\w+=.*", word):  # a variable of the command's own
            words.append(word)
    yield words


def _fault(words: list[str]) -> str:
    if not words:
        return ""
    program, *rest = words
    name = program.rpartition("/")[2]
    if name == "sudo":
        return _fault(rest[2:] if rest[:1] == ["-u"] else rest) if "whimbrel" in " ".join(rest[2:3]) else ""
    if name == "whimbrel":
        return _whimbrel(main, "whimbrel", rest)
    if name in ("python", "python3"):
        return _python(rest)
    checks = {"make": _make, "pip": _pip, "aws": _aws}
    if name in checks:
        return checks[name](rest)
    if program.startswith(("scripts/", ".venv/bin/")):  # the tests run by a Python of such an environment
        folder = ROOT / "scripts" if program.startswith("scripts/") else Path(sys.executable).parent
        return "" if (folder / name).exists() else f"{program} is not there"
    return "" if program in OTHERS else f"{program} is not a program that the pages may name (tests/docs/commands.py)"


def _whimbrel(command: click.Command, name: str, words: list[str]) -> str:
    """Its options, and how many arguments there are; not whether files are there."""
    context = click.Context(command, info_name=name)
    try:
        given, rest, _ = command.make_parser(context).parse_args(list(words))
    except click.UsageError as error:
        return f"{name}: {error.format_message()}"
    if isinstance(command, click.Group):
        if not rest:
            return ""
        found = command.get_command(context, rest[0])
        return _whimbrel(found, f"{name} {rest[0]}", rest[1:]) if found else f"{name}: there is no command {rest[0]!r}"
    if rest:
        return f"{name}: {rest[0]!r} is one argument too many"
    missing = [each.name for each in command.params if each.required and not _is_given(each, given)]
    wrong = [each.name for each in command.params if not _is_chosen(each, given)]
    return f"{name}: missing {missing}, wrong {wrong}" if missing or wrong else ""


def _is_given(parameter: click.Parameter, given: dict[str, Any]) -> bool:
    value = given.get(parameter.name or "")
    return isinstance(value, str | tuple) and bool(value)


def _is_chosen(parameter: click.Parameter, given: dict[str, Any]) -> bool:
    if not isinstance(parameter.type, click.Choice) or not _is_given(parameter, given):
        return True
    value = given[parameter.name or ""]
    return all(each in parameter.type.choices for each in ([value] if isinstance(value, str) else value))


def _make(words: list[str]) -> str:
    makefile = (ROOT / "Makefile").read_text()
    for word in words:
        name, sign, _ = word.partition("=")
        if not re.search(rf"^{re.escape(name)} \?=" if sign else rf"^{re.escape(name)}:", makefile, re.MULTILINE):
            return f"make: the Makefile has no {name}"
    return ""


def _python(words: list[str]) -> str:
    if words[:2] == ["-m", "pip"]:
        return _pip(words[2:])
    if words[:1] == ["-m"]:
        if words[1] in ("venv", "pytest"):
            return ""
        place = ROOT / words[1].replace(".", "/")
        return "" if place.is_dir() or place.with_suffix(".py").exists() else f"there is no module {words[1]}"
    script = ROOT / words[0] if words else ROOT
    return "" if script.exists() else f"{words[0]} is not there"


def _pip(words: list[str]) -> str:
    if words[0] == "download":
        return ""
    files = [after for word, after in pairwise(words) if word == "-r"]
    if gone := [file for file in files if not (ROOT / file).exists()]:
        return f"pip: {gone[0]} is not there"
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for word in words[1:]:
        if word.startswith(("whimbrel", ".[")):
            unknown = Requirement(word.replace(".[", "whimbrel[")).extras - extras.keys()
            if unknown:
                return f"pip: there is no extra {unknown}"
    return ""


@cache
def _aws_commands() -> dict[str, Any]:
    found: dict[str, Any] = awscli.clidriver.create_clidriver()._get_command_table()
    return found


def _aws(words: list[str]) -> str:
    """By the tables of AWS's own CLI: the operation, and the name of each option."""
    service, operation, *rest = words
    command = _aws_commands().get(service)
    if command is None:
        return f"aws: there is no {service}"
    table = getattr(command, "subcommand_table", None) or command._get_command_table()
    if operation not in table:
        return f"aws {service}: there is no {operation}"
    known = table[operation].arg_table.keys() | {"region", "profile", "output", "query", "endpoint-url"}
    unknown = [word for word in rest if word.startswith("--") and word[2:] not in known]
    return f"aws {service} {operation}: there is no {unknown[0]}" if unknown else ""
