"""A password, from a file that only its owner can read, or from an environment variable."""

from __future__ import annotations

import os
from pathlib import Path

from whimbrel.private import openness
from whimbrel.project.section import Section

# Of the environment, that hold a password, or may: not for the programs that we start.
VARIABLES = {"WHIMBREL_SOURCE_PASSWORD", "WHIMBREL_REVERSE_PASSWORD"}


def read_password(section: Section, file_key: str, variable: str) -> str:
    """ "" where there is none. What is wrong goes to the section's faults."""
    VARIABLES.add(variable)
    file = section.string(file_key, "")
    if not file:
        return os.environ.get(variable, "")
    try:
        path = Path(file).expanduser()
        if open_to := openness(path):
            section.fault(file_key, f"{file!r} {open_to}: chmod 600 {path}, or see docs/security.md")
        return path.read_text(encoding="utf-8").rstrip("\n")
    except OSError as error:
        section.fault(file_key, f"{file!r} cannot be read: {error.strerror}")
    except (UnicodeDecodeError, RuntimeError):  # of no text; "~somebody" who is not here
        section.fault(file_key, f"{file!r} is not a text file")
    return ""
