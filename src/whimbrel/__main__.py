"""The command ``whimbrel``. SIGTERM ends it where it is, as Ctrl-C does, unless what is at work has its own way."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import NoReturn

from whimbrel.cli.stopping import FAILED, INTERRUPTED
from whimbrel.memory import out_of_memory


def run() -> None:
    signal.signal(signal.SIGTERM, _leave)
    try:
        from whimbrel.cli.main import main  # takes a third of a second, in which a person may press Ctrl-C

        main()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except (MemoryError, ImportError) as error:
        used_up = out_of_memory(error)
        if used_up is None:
            raise
        sys.stderr.write(f"whimbrel: {used_up}\n")
        sys.exit(FAILED)


def _leave(_signal: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(INTERRUPTED)


if __name__ == "__main__":
    run()
