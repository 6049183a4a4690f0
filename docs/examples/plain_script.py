"""A migration up to its proof, and a renewal, in a plain script: python plain_script.py whimbrel.toml

Ctrl-C ends it at a safe place, and the same script continues from there.
"""

import logging
import signal
import sys
import threading

import whimbrel
from whimbrel.errors import Stopped, UserError, WhimbrelError


def migrate(project: str, stop: threading.Event) -> int:
    report = whimbrel.check(project)
    for finding in report.findings:
        print(finding.severity, finding.place, finding.reason)
    if report.errors:
        return 2
    done = whimbrel.migrate(project, progress=show, stop=stop)
    if done.stopped or done.dead_letters:
        print(f"stopped: {done.stopped}, dead letters: {done.dead_letters}")
        return 4
    return 0 if whimbrel.verify(project, stop=stop).equal else 5


def renew(project: str, stop: threading.Event) -> int:
    for renewal in whimbrel.renew(project, stop=stop):
        print(renewal.model, renewal.outcome)
    return 0


def show(update: whimbrel.Update) -> None:
    """Called four times a second while data moves."""
    if update.message:
        print(update.message)


def main(project: str) -> int:
    logging.basicConfig(level=logging.WARNING)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        code = migrate(project, stop)
        if code == 0 and whimbrel.load_project(project).predict.renewals:
            code = renew(project, stop)
        return code
    except (Stopped, KeyboardInterrupt):
        return 130
    except UserError as error:  # the project file, a mapping, a privilege: trying again changes nothing
        print(error, file=sys.stderr)
        return 2
    except WhimbrelError as error:  # the source, the target or the state folder
        print(error, file=sys.stderr)
        return 3


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
