"""The file that Spark starts: its driver, and the functions that its executors begin with.

It needs nothing but Python. On a cluster whimbrel and what it needs are in an archive, which has compiled modules and
so must be unpacked before any of it is imported, on each machine. These functions go to the executors as they are
(those of a main module do), and unpack it there.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import zipfile
import zipimport
from collections.abc import Iterator
from typing import Any

ARCHIVE = "whimbrel-spark"  # begins the archive's name


def unpack() -> None:
    """Make whimbrel importable. Where it is installed, there is no archive.

    Before each task Spark has Python look again at all that it may import from. It then reads the directories of
    Spark's own jars, which takes a tenth of a second of CPU time; they do not change, so it need not.
    """
    setattr(zipimport.zipimporter, "invalidate_caches", lambda self: None)  # noqa: B010
    found = [path for path in sys.path if os.path.basename(path).startswith(ARCHIVE) and path.endswith(".zip")]
    if not found or found[0] + ".d" in sys.path:
        return
    folder = found[0] + ".d"  # beside it, in a folder of this application alone
    if not os.path.isdir(folder):
        scratch = tempfile.mkdtemp(dir=os.path.dirname(os.path.abspath(folder)))
        with zipfile.ZipFile(found[0]) as archive:
            archive.extractall(scratch)
        try:
            os.rename(scratch, folder)
        except OSError:  # another process of this machine was first
            shutil.rmtree(scratch)
    sys.path.insert(0, folder)


def load_chunk(where: Any, number: int) -> None:
    unpack()
    from whimbrel.migration.spark import places, task

    task.load_chunk(places.Where(*where), number)


def rows_of_chunks(where: Any, batches: Any) -> Iterator[Any]:
    unpack()
    from whimbrel.migration.spark import places, shuffle

    yield from shuffle.rows_of_chunks(places.Where(*where), batches)


def load_sorted(where: Any, batches: Any) -> Iterator[Any]:
    unpack()
    from whimbrel.migration.spark import places, shuffle

    yield from shuffle.load_sorted(places.Where(*where), batches)


def end_with_parent() -> None:
    """A driver on this machine ends when the run does, in whatever way; and with it all that it started."""

    from whimbrel.threads import Thread

    def listen() -> None:
        while os.read(0, 1 << 16):
            pass
        os._exit(1)

    Thread(listen, "parent").start()


def main() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for name in ("job", "endpoint", "region", "profile", "master"):
        parser.add_argument(f"--whimbrel-{name}", dest=name, default="")
    options, _ = parser.parse_known_args()  # Glue adds some of its own
    unpack()
    if options.master:
        end_with_parent()
    from whimbrel.migration.spark import driver, places

    where = places.Where(options.job, options.endpoint, options.region, options.profile)
    sys.exit(driver.drive(where, options.master, driver.Functions(load_chunk, rows_of_chunks, load_sorted)))


if __name__ == "__main__":
    main()
