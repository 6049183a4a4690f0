"""What every command shares while it runs: the way out of an error, notes, and the run's own log file."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn, Protocol

import click

from whimbrel import notes
from whimbrel.cli.stopping import FAILED, INTERRUPTED, at_once_without_memory
from whimbrel.errors import Stopped, UserError, WhimbrelError
from whimbrel.memory import out_of_memory, release
from whimbrel.private import private
from whimbrel.ui.shortened import shortened

log = logging.getLogger("whimbrel")

OK, BROKEN, USER_ERROR, DEAD_LETTERS, DIFFERENCES = 0, 1, 2, 4, 5


def run_guarded(command: Callable[..., int], arguments: tuple[Any, ...], options: dict[str, Any]) -> NoReturn:
    """Exit with what ``command`` returns; an error of ours is a message and an exit code, never a traceback.

    What the command writes is its user's alone.
    """
    try:
        print_notes()
        with private():
            code = command(*arguments, **options)
    except BrokenPipeError:
        raise  # somebody who reads our output has seen enough: click ends it quietly
    except (Exception, KeyboardInterrupt) as error:
        code = _ended_by(error, bool(options.get("as_json")))
    sys.stdout.flush()
    sys.exit(code)


def _ended_by(error: BaseException, as_json: bool) -> int:
    """Report the error that ended a command; the exit code. What is not known to be anybody else's fault is raised."""
    if isinstance(error, Stopped | KeyboardInterrupt):
        return INTERRUPTED
    if used_up := out_of_memory(error):
        with at_once_without_memory():
            release(error)
            report_error(used_up, as_json)
            sys.stdout.flush()
        os._exit(FAILED)  # the interpreter's own end may need memory too, and wait for what cannot happen
    if isinstance(error, OSError):
        from whimbrel.api.opened import state_error

        error = state_error(error)
    if not isinstance(error, WhimbrelError):
        raise error
    report_error(error, as_json)
    return USER_ERROR if isinstance(error, UserError) else FAILED


def report_error(error: WhimbrelError, as_json: bool) -> None:
    if as_json:
        say_json({"error": type(error).__name__, "place": error.place, "message": error.message, "hint": error.hint})
    else:
        click.echo(_told(error), err=True)


def _told(error: WhimbrelError) -> str:
    """The error with its name, by which docs/errors.md lists them; the hint has a line of its own.

    What is shortened is whole in the command's log, if it has one.
    """
    text = f"{error.place}: {error.message}" if error.place else error.message
    text = f"error[{type(error).__name__}]: {text}" + (f"\nhint: {error.hint.strip()}" if error.hint else "")
    if not has_log():
        return text
    log.error("ended by an error", extra={"error": type(error).__name__, "reason": str(error)})
    return shortened(text)


def say_json(values: dict[str, Any]) -> None:
    click.echo(json.dumps(values, default=str))


def follow(as_json: bool) -> Callable[[str], None]:
    """Says what is going on elsewhere, as it comes: for a person alone."""

    def say_line(words: str) -> None:
        if not as_json:
            click.echo(words)
            sys.stdout.flush()

    return say_line


class Result(Protocol):
    """What a verb returns."""

    def to_dict(self) -> dict[str, Any]: ...


def say(found: Result, as_json: bool, lines: Iterable[str]) -> None:
    """Print what a verb found: for a program, or ``lines`` for a person."""
    if as_json:
        say_json(found.to_dict())
    else:
        for line in lines:
            click.echo(line)


def print_notes() -> None:
    """What a person should know goes to standard error, and into no log."""
    logger = logging.getLogger(notes.NAME)
    logger.propagate, logger.handlers = False, [_Printed()]


class _Printed(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        click.echo(record.getMessage(), err=True)


def keep_log(path: Path) -> None:
    """Structured logs: one JSON object a line, in the state folder."""
    handler = _OnceThere(path, encoding="utf-8", delay=True)
    handler.setFormatter(_JsonLines())
    logging.raiseExceptions = False  # a log that cannot be written must not end up on the screen, line by line
    for name in ("whimbrel", "asyncio"):  # asyncio's own would be printed, tracebacks and all
        logger = logging.getLogger(name)
        logger.setLevel(logging.INFO)
        logger.propagate = False
        for before in logger.handlers:  # of another command in this process
            before.close()
        logger.handlers = [handler]


def has_log() -> bool:
    """Whether what is logged now is kept."""
    return any(handler.is_there() for handler in log.handlers if isinstance(handler, _OnceThere))


class _OnceThere(logging.FileHandler):
    """Logs into a folder that a run makes when it begins: what is refused before leaves no folder behind."""

    def is_there(self) -> bool:
        return self.stream is not None or Path(self.baseFilename).parent.exists()

    def emit(self, record: logging.LogRecord) -> None:
        if self.is_there():
            super().emit(record)


_STANDARD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        values = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        values |= {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if record.exc_info:
            values["traceback"] = self.formatException(record.exc_info)
        return json.dumps(values, default=str)
