"""The command ``whimbrel``. SIGTERM ends it where it is, as Ctrl-C does, unless what is at work has its own way."""

from __future__ import annotations

import sys

FAILED, INTERRUPTED = 3, 130  # as whimbrel.cli.stopping has them
LEAST = 32 << 20  # bytes that any command needs
WITHOUT_NUMPY = ("convert", "export")


def run() -> None:
    try:
        _run()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as error:
        if not (isinstance(error, MemoryError) or _is_short()):
            raise
        sys.stderr.write("whimbrel: the memory is used up\n")
        sys.exit(FAILED)


def _run() -> None:
    import signal

    signal.signal(signal.SIGTERM, lambda _signal, _frame: sys.exit(INTERRUPTED))
    sys.meta_path.insert(0, Without("pandas", *["numpy" for name in sys.argv[1:2] if name in WITHOUT_NUMPY]))
    from whimbrel.cli.main import main  # takes a moment, in which a person may press Ctrl-C
    from whimbrel.memory import few_collections_to_the_end

    few_collections_to_the_end()
    main()


class Without:
    """PyArrow imports what it finds of these: pandas takes 35 MB and half a second, and nothing here uses it; numpy
    takes a tenth of a second, and training uses it.
    """

    def __init__(self, *names: str) -> None:
        self._names = names

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name in self._names:
            raise ModuleNotFoundError(f"this command works without {name}", name=name)


def _is_short() -> bool:
    """Where the interpreter finds no memory to compile or load a module, it raises an error of any kind."""
    try:
        bytearray(LEAST)
    except MemoryError:
        return True
    return False


if __name__ == "__main__":
    run()
