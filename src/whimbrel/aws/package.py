"""Packages for AWS: whimbrel and what it needs where it runs there, as the same bytes each time.

What that is is locked, with hashes, in a file that is installed with whimbrel: ``function.txt`` for Lambda, in whose
runtime boto3 is; ``spark.txt`` for the job of a cluster that has nothing.
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
from whimbrel.aws.through import RUNTIME
from whimbrel.durable import replace_file
from whimbrel.errors import UserError
from whimbrel.migration.spark.boot import ARCHIVE

Architecture: TypeAlias = Literal["arm64", "x86_64"]

LOCK = Path(__file__).with_name("function.txt")
JOB_LOCK = Path(__file__).with_name("spark.txt")
JOB_PYTHON = "3.11"  # which Glue 5 has, and EMR 7
# Of botocore's descriptions of AWS's services, which are nine tenths of its bytes, those that a job calls.
JOB_SERVICES = ("dynamodb", "s3", "sso", "sso-oidc", "sts")
# Of pyarrow, what is there to compile against it, and to test it.
_NOT_OF_JOB = ("pyarrow/include/", "pyarrow/src/", "pyarrow/tests/")
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


def job_archive(
    architectures: Sequence[str], folder: Path, wheels: Path | None = None, lock: Path = JOB_LOCK
) -> tuple[AwsPackage, ...]:
    """The same for the job of Spark."""
    return tuple(_job_archive(cast(Architecture, each), folder, wheels, lock) for each in architectures)


def _package(architecture: Architecture, folder: Path, wheels: Path | None, lock: Path) -> AwsPackage:
    with TemporaryDirectory() as scratch:
        _fetch(architecture, _VERSION, Path(scratch), wheels, lock)
        members = {**_whimbrel(), **dict(_of_wheels(Path(scratch)))}
    return _written(architecture, folder / f"function-{architecture}.zip", members)


def _job_archive(architecture: Architecture, folder: Path, wheels: Path | None, lock: Path) -> AwsPackage:
    with TemporaryDirectory() as scratch:
        _fetch(architecture, JOB_PYTHON, Path(scratch), wheels, lock)
        needed = {name: data for name, data in _of_wheels(Path(scratch)) if _is_of_job(name)}
    return _written(architecture, folder / f"{ARCHIVE}-{architecture}.zip", {**_whimbrel(), **needed})


def _is_of_job(name: str) -> bool:
    part = name.split("/")
    described = part[:2] == ["botocore", "data"] and len(part) > 3
    return not name.startswith(_NOT_OF_JOB) and (not described or part[2] in JOB_SERVICES)


def _written(architecture: str, file: Path, members: Mapping[str, bytes]) -> AwsPackage:
    data = _zipped(members)
    file.parent.mkdir(parents=True, exist_ok=True)
    replace_file(file, data)
    return AwsPackage(architecture, str(file), len(data), sha256(data).hexdigest())


def _fetch(architecture: Architecture, version: str, folder: Path, wheels: Path | None, lock: Path) -> None:
    """By pip, which checks the hashes of what it finds."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--no-deps", "--only-binary", ":all:", "--require-hashes", "--requirement", str(lock)]
    command += ["--python-version", version, "--implementation", "cp", "--abi", f"cp{version.replace('.', '')}"]
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
