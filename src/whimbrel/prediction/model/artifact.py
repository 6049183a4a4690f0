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

from whimbrel.durable import replace_file
from whimbrel.errors import UserError
from whimbrel.prediction.model.model import LARGEST

_ENDS = (".tar.gz", ".tgz")


def pack(model: Path, path: Path) -> None:
    """Write ``path``, durably, with the model file in it. Raises OSError."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.add(model, model.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, packed.getvalue())


@contextmanager
def model_in(path: Path) -> Iterator[Path]:
    """The model file itself: ``path``, or what it has in it, in a folder that goes afterwards. Raises UserError."""
    if not path.name.endswith(_ENDS):
        yield path
        return
    try:
        with gzip.open(path) as file:
            unpacked = file.read(LARGEST + 1)  # all of it may be a header, which is read whole
        if len(unpacked) > LARGEST:
            hint = "Pack the file that `whimbrel train` wrote, alone."
            raise UserError(f"it has more than {LARGEST >> 20} MB, unpacked", place=str(path), hint=hint)
        with tarfile.open(fileobj=io.BytesIO(unpacked), mode="r:") as archive:
            names = [each.name for each in archive if each.isfile()]
            found = [name for name in names if name.endswith((".json", ".json.gz"))]
            member = archive.extractfile(found[0]) if len(found) == 1 else None
            data = member.read(LARGEST) if member else b""
    except (OSError, EOFError, tarfile.TarError, zlib.error, ValueError) as error:
        raise UserError(f"it cannot be unpacked: {error}", place=str(path), hint="Pack it again.") from None
    if len(found) != 1:
        hint = "Pack the file that `whimbrel train` wrote, alone."
        raise UserError(f"has {len(found)} model files in it, not one", place=str(path), hint=hint)
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / Path(found[0]).name
        model.write_bytes(data)
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
