"""``make fuzz``: atheris looks for inputs that take a reader of tests/fuzz/readers.py somewhere new, or that break it.

``python -m tests.fuzz.campaign [NAME …] [--seconds 60]``. What it finds of interest is kept in ``.fuzz/NAME``, so that
the next campaign goes on from there. An input that breaks a reader is written to ``tests/fuzz/corpus/NAME``, where
``make test`` reads it again from then on.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CORPUS = ROOT / "tests" / "fuzz" / "corpus"
LARGEST = 4096  # bytes of an input
PATIENCE = 10  # seconds for one input: every reader ends
MEMORY = 2048  # MB


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    names = sorted(path.name for path in CORPUS.iterdir())
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(names))
    parser.add_argument("--seconds", type=int, default=60, help="for each reader")
    parser.add_argument("--in-this-process", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := set(options.names) - set(names):
        parser.error(f"there is no reader {', '.join(sorted(unknown))}: there are {', '.join(names)}")
    if options.in_this_process:
        _fuzz(options.names[0], options.seconds)
    broken = [name for name in options.names or names if not _holds(name, options.seconds)]
    print(f"broken: {', '.join(broken)}: see tests/fuzz/corpus" if broken else "every reader held")
    return 1 if broken else 0


def _holds(name: str, seconds: int) -> bool:
    """libFuzzer ends its process, so each reader has one of its own."""
    print(f"{name}: {seconds} s", flush=True)
    command = [sys.executable, "-m", "tests.fuzz.campaign", name, "--seconds", str(seconds), "--in-this-process"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        print(done.stdout[-4000:], done.stderr[-4000:])
    return done.returncode == 0


def _fuzz(name: str, seconds: int) -> None:
    import atheris

    with atheris.instrument_imports(include=["whimbrel"], enable_loader_override=False):
        from tests.fuzz.readers import READERS

    found = ROOT / ".fuzz" / name
    found.mkdir(parents=True, exist_ok=True)
    limits = [f"-max_total_time={seconds}", f"-max_len={LARGEST}", f"-timeout={PATIENCE}", f"-rss_limit_mb={MEMORY}"]
    where = [f"-artifact_prefix={CORPUS / name}/", str(found), str(CORPUS / name)]
    atheris.Setup([sys.argv[0], *limits, *where], READERS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
