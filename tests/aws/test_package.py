"""The function's package: made of what is locked, the same each time, and it starts."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import zipfile
from base64 import urlsafe_b64encode
from hashlib import sha256
from pathlib import Path

import pytest

import whimbrel
from tests.conftest import without_coverage
from whimbrel.aws import package
from whimbrel.aws.package import AwsPackage
from whimbrel.errors import UserError
from whimbrel.migration.spark import boot

ROOT = Path(__file__).parents[2]
MOST_BYTES = 3_000_000
# What may be imported beside whimbrel and its package: boto3 and what belongs to it is in Lambda's runtime.
IN_THE_RUNTIME = {"boto3", "botocore", "s3transfer", "jmespath", "dateutil", "six", "urllib3"}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a wheel of one package for each architecture, and its lock."""
    folder = tmp_path_factory.mktemp("wheels")
    files = [_wheel(folder, machine) for machine in ("x86_64", "aarch64")]
    hashes = " ".join(f"--hash=sha256:{sha256(file.read_bytes()).hexdigest()}" for file in files)
    (folder / "function.txt").write_text(f"quick=={'1.0'} {hashes}\n")
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, wheels: Path) -> dict[str, AwsPackage]:
    """The packages, by their architectures."""
    both = package.package(("arm64", "x86_64"), tmp_path_factory.mktemp("made"), wheels, wheels / "function.txt")
    return {each.architecture: each for each in both}


def _wheel(folder: Path, machine: str) -> Path:
    tag = f"cp313-cp313-manylinux_2_17_{machine}.manylinux2014_{machine}"
    return _wheel_of(folder, tag, {"quick.py": f"machine = {machine!r}\n"})


def _wheel_of(folder: Path, tag: str, members: dict[str, str]) -> Path:
    members = members | {
        "quick-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: quick\nVersion: 1.0\n",
        "quick-1.0.dist-info/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {tag}\n",
    }
    lines = [
        f"{name},sha256={urlsafe_b64encode(sha256(text.encode()).digest()).decode().rstrip('=')},{len(text)}"
        for name, text in members.items()
    ]
    members["quick-1.0.dist-info/RECORD"] = "\n".join([*lines, "quick-1.0.dist-info/RECORD,,", ""])
    file = folder / f"quick-1.0-{tag}.whl"
    with zipfile.ZipFile(file, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return file


@pytest.mark.parametrize(("architecture", "machine"), [("arm64", "aarch64"), ("x86_64", "x86_64")])
def test_each_architecture_has_its_own_wheels(made: dict[str, AwsPackage], architecture: str, machine: str) -> None:
    found = made[architecture]
    data = Path(found.file).read_bytes()
    assert (found.bytes, found.sha256) == (len(data), sha256(data).hexdigest())
    assert len(data) < MOST_BYTES
    with zipfile.ZipFile(found.file) as archive:
        assert archive.read("quick.py").decode() == f"machine = {machine!r}\n"
        assert "whimbrel/function/handler.py" in archive.namelist()
        assert not [name for name in archive.namelist() if name.endswith(".pyc")]
        assert {each.external_attr >> 16 for each in archive.infolist()} == {0o100644}  # Lambda's user can read it


def test_the_pages_say_its_size(made: dict[str, AwsPackage]) -> None:
    """To a tenth of a megabyte or so: the real one has orjson too, which packs to some 0.14 MB."""
    for page, words in (("aws.md", "Each has"), ("kinesis.md", "That is")):
        [said] = re.findall(rf"{words} ([\d.]+) MB\.", (ROOT / "docs" / page).read_text())
        assert abs(float(said) - (made["arm64"].bytes / 1e6 + 0.14)) < 0.15, page


def test_it_is_the_same_bytes_each_time(tmp_path: Path, wheels: Path, made: dict[str, AwsPackage]) -> None:
    [again] = package.package(("arm64",), tmp_path, wheels, wheels / "function.txt")
    assert Path(again.file).read_bytes() == Path(made["arm64"].file).read_bytes()


def test_another_file_than_the_locked_one_is_refused(tmp_path: Path, wheels: Path) -> None:
    changed = tmp_path / "changed"
    shutil.copytree(wheels, changed)
    with zipfile.ZipFile(next(changed.glob("*aarch64.whl")), "a") as archive:
        archive.writestr("more.py", "")
    with pytest.raises(UserError, match=r"for arm64 could not be fetched: .*HASHES"):
        package.package(("arm64",), tmp_path / "out", changed, wheels / "function.txt")
    assert not (tmp_path / "out").exists()


def test_without_what_is_needed_it_is_named(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UserError, match=r"for arm64 could not be fetched: No matching distribution.*orjson.*--wheels"):
        whimbrel.aws_package(architectures=["arm64"], output=tmp_path / "out", wheels=empty)
    assert not (tmp_path / "out").exists()


def test_an_architecture_that_lambda_does_not_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'riscv64' is not an architecture of Lambda"):
        whimbrel.aws_package(architectures=["riscv64"], output=tmp_path / "out")


def test_the_handler_needs_nothing_that_is_not_in_the_package_or_the_runtime(
    tmp_path: Path, made: dict[str, AwsPackage]
) -> None:
    """Imported from the unpacked package alone; what else it takes from here must be in Lambda's runtime."""
    with zipfile.ZipFile(made["x86_64"].file) as archive:
        archive.extractall(tmp_path / "task")
    program = (
        "import json, sys; sys.path.insert(0, sys.argv[1])\n"
        "import whimbrel.function.handler as h\n"
        "from whimbrel.dynamodb.session import Session; from whimbrel.project import Target\n"
        "Session(Target(region='eu-west-1')).service('dynamodb')\n"
        "names = {n.partition('.')[0] for n in sys.modules} - set(sys.stdlib_module_names)\n"
        "print(json.dumps([h.__file__, sorted(n for n in names if hasattr(sys.modules[n], '__file__'))]))"
    )
    keys = {"AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none"}
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "task")],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env=without_coverage() | keys,
    )
    file, names = json.loads(done.stdout)
    assert Path(file).is_relative_to(tmp_path / "task")
    needed = {name for name in names if not name.startswith("_")}
    by_chance = {"sitecustomize", "certifi"}  # a distribution's own; botocore takes its certificates where it is
    assert needed - by_chance <= {"whimbrel", "orjson", *IN_THE_RUNTIME}


# the archive of the Spark job


def test_the_archive_has_what_a_job_needs_and_not_the_rest(tmp_path: Path) -> None:
    tag = "cp311-cp311-manylinux_2_17_x86_64"
    members = {
        "botocore/data/endpoints.json": "{}",
        "botocore/data/dynamodb/2012-08-10/service-2.json.gz": "",
        "botocore/data/ec2/2016-11-15/service-2.json.gz": "",
        "pyarrow/lib.so": "",
        "pyarrow/include/arrow/api.h": "",
    }
    file = _wheel_of(tmp_path, tag, members)
    (tmp_path / "lock.txt").write_text(f"quick==1.0 --hash=sha256:{sha256(file.read_bytes()).hexdigest()}\n")
    [made] = package.job_archive(("x86_64",), tmp_path / "out", tmp_path, tmp_path / "lock.txt")
    assert Path(made.file).name == "whimbrel-spark-x86_64.zip"
    with zipfile.ZipFile(made.file) as archive:
        names = set(archive.namelist())
    assert "whimbrel/migration/spark/task.py" in names
    kept = {"botocore/data/endpoints.json", "botocore/data/dynamodb/2012-08-10/service-2.json.gz", "pyarrow/lib.so"}
    assert names & members.keys() == kept


def test_a_machine_unpacks_the_archive_once(tmp_path: Path) -> None:
    """As Spark has it: on the path of a Python that has nothing else."""
    archive = tmp_path / "whimbrel-spark-x86_64.zip"
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("whimbrel/__init__.py", "")
        made.writestr("native.py", "import os; assert os.path.isfile(__file__)")
    program = (
        "import runpy, sys; boot = runpy.run_path(sys.argv[1]); sys.path.append(sys.argv[2])\n"
        "boot['unpack'](); boot['unpack']()\n"
        "import native, whimbrel; print(whimbrel.__file__); print(sys.path.count(sys.argv[2] + '.d'))"
    )
    for _ in range(2):
        command = [sys.executable, "-I", "-S", "-c", program, boot.__file__, str(archive)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.split() == [f"{archive}.d/whimbrel/__init__.py", "1"]
    assert sorted(each.name for each in tmp_path.iterdir()) == [archive.name, f"{archive.name}.d"]


@pytest.mark.slow
def test_a_task_needs_nothing_that_is_not_in_the_real_archive(tmp_path: Path) -> None:
    """Fetches what is locked; where no package index can be reached, it fails by name."""
    if sys.version_info[:2] != (3, 11):
        pytest.skip("the archive is for Python 3.11")
    [made] = whimbrel.aws_package(architectures=["x86_64"], output=tmp_path, spark=True)
    program = (
        "import runpy, sys; boot = runpy.run_path(sys.argv[1]); sys.path.append(sys.argv[2])\n"
        "boot['unpack']()\n"
        "import pyarrow, whimbrel.migration.spark.driver, whimbrel.migration.spark.shuffle as shuffle\n"
        "from whimbrel.migration.spark.places import Where, place_at\n"
        "from whimbrel.project import Target; from whimbrel.dynamodb.wire import DynamoClient\n"
        "DynamoClient(Target(region='eu-west-1', endpoint='http://127.0.0.1:9'))\n"
        "place_at(Where('s3://bucket/x', 'http://127.0.0.1:9', 'eu-west-1')).client\n"
        "print(shuffle.__file__)"
    )
    command = [sys.executable, "-I", "-S", "-c", program, boot.__file__, made.file]
    keys = {"AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none"}
    done = subprocess.run(command, capture_output=True, text=True, env=without_coverage() | keys, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"{made.file}.d/whimbrel/migration/spark/shuffle.py"
    assert made.bytes < 80_000_000


@pytest.mark.slow
def test_the_real_package_is_small_and_has_both_wheels(tmp_path: Path) -> None:
    """Fetches what is locked; where no package index can be reached, it fails by name."""
    for found, machine in zip(whimbrel.aws_package(output=tmp_path), ("aarch64", "x86_64"), strict=True):
        assert found.bytes < MOST_BYTES
        with zipfile.ZipFile(found.file) as archive:
            [library] = [name for name in archive.namelist() if name.endswith(".so")]
        assert library == f"orjson/orjson.cpython-313-{machine}-linux-gnu.so"
