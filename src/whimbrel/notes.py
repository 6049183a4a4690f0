"""What a person should know although it ends nothing: warnings of the logger ``whimbrel.notes``.

The command line prints them; to a program that imports whimbrel they are log records like any other.
"""

from __future__ import annotations

import logging

NAME = "whimbrel.notes"
_log = logging.getLogger(NAME)


def note(text: str) -> None:
    _log.warning(text)
