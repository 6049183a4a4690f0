"""model.tar.gz, as SageMaker keeps a trained model: one model file in it, and nothing else."""

from __future__ import annotations

import gzip
import io
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from whimbrel.durable import replace_file
from whimbrel.errors import UserError
from whimbrel.prediction.model.model import LARGEST

_ENDS = (".tar.gz", ".tgz")


def pack(model: Path, path: Path) -> None:
    """Write ``path``, durably, with the model file in it. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, packed(model.name, model.read_bytes()))


def packed(name: str, data: bytes) -> bytes:
    """An archive with one file: the same bytes each time."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size, member.mode = len(data), 0o644
        archive.addfile(member, io.BytesIO(data))
    return gzip.compress(made.getvalue(), mtime=0)


def members(packed: IO[bytes], place: str) -> dict[str, bytes]:
    """The files in a .tar.gz by name. Raises UserError for what cannot be unpacked, or is larger than LARGEST."""
    try:
        with gzip.open(packed) as file:
            unpacked = file.read(LARGEST + 1)  # all of it may be a header, which is read whole
        if len(unpacked) > LARGEST:
            hint = "Pack the file that `whimbrel train` wrote, alone."
            raise UserError(f"it has more than {LARGEST >> 20} MB, unpacked", place=place, hint=hint)
        with tarfile.open(fileobj=io.BytesIO(unpacked), mode="r:") as archive:
            files = [(each.name.removeprefix("./"), archive.extractfile(each)) for each in archive if each.isfile()]
            if len({name for name, _ in files}) < len(files):
                raise ValueError("two files have one name")
            return {name: file.read(LARGEST) for name, file in files if file}
    except (OSError, EOFError, tarfile.TarError, zlib.error, ValueError) as error:
        raise UserError(f"it cannot be unpacked: {error}", place=place, hint="Pack it again.") from None


@contextmanager
def model_in(path: Path) -> Iterator[Path]:
    """The model file itself: ``path``, or what it has in it, in a folder that goes afterwards. Raises UserError."""
    if not path.name.endswith(_ENDS):
        yield path
        return
    try:
        with path.open("rb") as file:
            inside = members(file, str(path))
    except OSError as error:
        raise UserError(f"it cannot be unpacked: {error}", place=str(path), hint="Pack it again.") from None
    found = {name: data for name, data in inside.items() if name.endswith((".json", ".json.gz"))}
    if len(found) != 1:
        hint = "Pack the file that `whimbrel train` wrote, alone."
        raise UserError(f"has {len(found)} model files in it, not one", place=str(path), hint=hint)
    with tempfile.TemporaryDirectory() as folder:
        [(name, content)] = found.items()
        model = Path(folder) / Path(name).name
        model.write_bytes(content)
        yield model


def model_file(folder: Path) -> Path:
    """The only model file below the folder. Raises UserError when it is none or several."""
    found = [path for path in sorted(folder.rglob("*")) if path.name.endswith((".json", ".json.gz")) and path.is_file()]
    if len(found) != 1:
        raise UserError(
            f"has {len(found)} model files, not one",
            place=str(folder),
            hint="Put the file that `whimbrel train` wrote into model.tar.gz, and nothing else.",
        )
    return found[0]
