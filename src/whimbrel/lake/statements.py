"""A text with several statements of SQL."""

from __future__ import annotations

from collections.abc import Iterator


def statements(sql: str) -> Iterator[str]:
    """The statements between the semicolons; those in quotes and comments separate nothing, and comments alone are no
    statement.
    """
    start, at, quote, said = 0, 0, "", False
    while at < len(sql):
        here = sql[at]
        if quote:
            quote = "" if here == quote else quote
        elif here in "'\"":
            quote, said = here, True
        elif sql.startswith("--", at):
            at = sql.find("\n", at)
            if at < 0:
                break
        elif sql.startswith("/*", at):
            at = max(at, sql.find("*/", at) + 1)
        elif here == ";":
            if said:
                yield sql[start:at].strip()
            start, said = at + 1, False
        elif not here.isspace():
            said = True
        at += 1
    if said:
        yield sql[start:].strip()
