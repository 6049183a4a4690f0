"""The function's package: whimbrel and what it needs in Lambda's runtime, as the same bytes each time.

What it needs is locked, with hashes, in ``function.txt``, which is installed with whimbrel. boto3 is in the runtime.
"""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, TypeAlias, cast

import whimbrel
from whimbrel.aws.template import RUNTIME
from whimbrel.durable import replace_file
from whimbrel.errors import UserError

Architecture: TypeAlias = Literal["arm64", "x86_64"]

LOCK = Path(__file__).with_name("function.txt")
# By Lambda's names. Its runtime is Amazon Linux 2023, which takes all of these.
PLATFORMS = {
    name: [f"{kind}_{machine}" for kind in ("manylinux2014", "manylinux_2_17", "manylinux_2_28", "manylinux_2_34")]
    for name, machine in (("arm64", "aarch64"), ("x86_64", "x86_64"))
}
MOST_SECONDS = 300  # that pip may take
_VERSION = RUNTIME.removeprefix("python")
_DATE = (1980, 1, 1, 0, 0, 0)  # the first that a zip file knows
_MODE = 0o100644 << 16
_UNIX = 3


@dataclass(frozen=True, slots=True)
class AwsPackage:
    """``sha256`` is that of the file, in hexadecimal."""

    architecture: str
    file: str
    bytes: int
    sha256: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def package(
    architectures: Sequence[str], folder: Path, wheels: Path | None = None, lock: Path = LOCK
) -> tuple[AwsPackage, ...]:
    """Write one zip file for each of ``architectures`` into ``folder``. ``wheels`` is a folder that has the wheels of
    the lock already: then nothing is fetched. Raises UserError where they cannot be had.
    """
    return tuple(_package(cast(Architecture, each), folder, wheels, lock) for each in architectures)


def _package(architecture: Architecture, folder: Path, wheels: Path | None, lock: Path) -> AwsPackage:
    with TemporaryDirectory() as scratch:
        _fetch(architecture, Path(scratch), wheels, lock)
        members = {**_whimbrel(), **dict(_of_wheels(Path(scratch)))}
    data = _zipped(members)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"function-{architecture}.zip"
    replace_file(file, data)
    return AwsPackage(architecture, str(file), len(data), sha256(data).hexdigest())


def _fetch(architecture: Architecture, folder: Path, wheels: Path | None, lock: Path) -> None:
    """By pip, which checks the hashes of what it finds."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--no-deps", "--only-binary", ":all:", "--require-hashes", "--requirement", str(lock)]
    command += ["--python-version", _VERSION, "--implementation", "cp", "--abi", f"cp{_VERSION.replace('.', '')}"]
    command += [word for name in PLATFORMS[architecture] for word in ("--platform", name)]
    command += ["--no-index", "--find-links", str(wheels.resolve())] if wheels else []
    try:
        done = subprocess.run(
            [*command, "--dest", str(folder)], capture_output=True, text=True, timeout=MOST_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise _not_fetched(architecture, f"pip had not ended after {MOST_SECONDS} s", lock) from None
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR:")] or done.stderr.splitlines()
        raise _not_fetched(architecture, errors[-1].removeprefix("ERROR: ") if errors else "pip failed", lock)


def _not_fetched(architecture: Architecture, reason: str, lock: Path) -> UserError:
    return UserError(
        f"the packages of {lock.name} for {architecture} could not be fetched: {reason}",
        place="pip download",
        hint="Without a network, fetch them on another machine (docs/aws.md has the command), and name their folder "
        "with --wheels.",
    )


def _whimbrel() -> dict[str, bytes]:
    root = Path(whimbrel.__file__).parent
    return {f"whimbrel/{file.relative_to(root).as_posix()}": file.read_bytes() for file in root.rglob("*.py")}


def _of_wheels(folder: Path) -> Iterator[tuple[str, bytes]]:
    for wheel in sorted(folder.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.infolist():
                if not member.is_dir():
                    yield member.filename, archive.read(member)


def _zipped(members: Mapping[str, bytes]) -> bytes:
    """Nothing of when, where or by whom it is made is in it."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(members):
            entry = zipfile.ZipInfo(name, _DATE)
            entry.compress_type, entry.external_attr, entry.create_system = zipfile.ZIP_DEFLATED, _MODE, _UNIX
            archive.writestr(entry, members[name])
    return target.getvalue()
