"""Addresses as SageMaker's API has them, and what they are on this machine, below the folders that control may name."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from whimbrel.errors import UserError
from whimbrel.lake.opened import lake_folder
from whimbrel.project import Project

Places = Callable[[str, str], Path]  # from an address, and the setting in which it stands


def local_path(url: str, setting: str) -> Path:
    """The path that a file:// URL names, or that stands there as it is. Raises UserError for another place."""
    parts = urlsplit(url)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return Path(unquote(parts.path))
    if re.match(r"[a-z][a-z0-9+.-]*://", url):
        raise UserError(f"{url[:200]!r} is not on this machine", place=setting, hint="Give a path or a file:// URL.")
    return Path(url)


class Folders:
    """The folders below which control calls may name files and folders. Links are followed first, then it is asked."""

    def __init__(self, folders: Iterable[Path], places: Places = local_path) -> None:
        self._folders = tuple(dict.fromkeys(Path(os.path.realpath(folder)) for folder in folders))
        self._place = places

    def file(self, address: str, setting: str) -> Path:
        """A regular file that is there: no device, no pipe. Raises UserError."""
        path = self._below(self._place(address, setting), setting)
        try:
            kind = path.stat().st_mode
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror}", place=setting, hint="Name a file.") from None
        if not stat.S_ISREG(kind):
            raise UserError(f"{path} is not a regular file", place=setting, hint="Name a file.")
        return path

    def inputs(self, address: str, setting: str) -> Path:
        """A folder that is there, and has nothing in it but folders and files that may be named. Raises UserError."""
        path = self._below(self._place(address, setting), setting)
        if not path.is_dir():
            raise UserError(f"there is no folder {path}", place=setting, hint="Name a folder.")
        for folder, inner, files in os.walk(path):
            for name in (*inner, *files):
                each = self._below(Path(folder, name), setting)
                if not (each.is_dir() or each.is_file()):
                    raise UserError(f"{each} is not a regular file", place=setting, hint="Take it out of the folder.")
        return path

    def output(self, address: str, setting: str) -> Path:
        """A folder that is there or can be made. Raises UserError."""
        return self._below(self._place(address, setting), setting)

    def _below(self, path: Path, setting: str) -> Path:
        try:
            real = Path(os.path.realpath(path))
        except (OSError, ValueError) as error:  # a NUL
            raise UserError(f"{str(path)[:200]!r} is not a path: {error}", place=setting, hint="Name a path.") from None
        if not any(real.is_relative_to(folder) for folder in self._folders):
            among = ", ".join(map(str, self._folders))
            raise UserError(
                f"{str(path)[:200]} is not below the folders that control calls may name ({among})",
                place=setting,
                hint="Put it there, or name its folder in folders of [serve].",
            )
        return real


def lake_places(lake: Path, locations: Mapping[str, str]) -> Places:
    """``s3://`` as the lake has it, other addresses as ``local_path``.

    What is read as a channel must be there, by the rules of SQL's locations. A model's place need not be yet: it is the
    folder that ``locations`` names for it, else ``s3/<bucket>/<path>`` below the lake, whoever writes or reads it.
    """
    from whimbrel.lake.external import resolve

    def place(address: str, setting: str) -> Path:
        if not address.startswith("s3://"):
            return local_path(address, setting)
        if setting == "S3Uri":
            return resolve(address, lake, locations)
        path = address.removeprefix("s3://").strip("/")
        if not path or {"..", "."} & set(path.split("/")):
            raise UserError(f"{address[:200]!r} does not name a place", place=setting, hint="Give s3://bucket/path.")
        mapped = any(address.startswith(known.rstrip("/")) for known in locations)
        return resolve(address, lake, locations) if mapped else lake / "s3" / path

    return place


def folders_of(project: Project) -> Folders:
    """The folders of the project, of its lake and of its captured calls, and those that [serve] names."""
    base, lake = project.path.parent, lake_folder(project)
    named = [base / each for each in project.predict.serve.folders]
    captured = [base / rule.capture_folder for rule in project.predict.endpoints if rule.capture_folder]
    located = [lake.parent / each for each in project.lake.locations.values()]
    own = [project.state / "models", project.state / "serve", project.state / "capture", lake]
    return Folders([*named, *own, *captured, *located], lake_places(lake, project.lake.locations))
