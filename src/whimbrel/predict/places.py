"""Addresses as SageMaker's API has them, and what they are on this machine."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from whimbrel.errors import UserError

Places = Callable[[str, str], Path]  # from an address, and the setting in which it stands


def local_path(url: str, setting: str) -> Path:
    """The path that a file:// URL names, or that stands there as it is. Raises UserError for another place."""
    parts = urlsplit(url)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return Path(unquote(parts.path))
    if re.match(r"[a-z][a-z0-9+.-]*://", url):
        raise UserError(f"{url[:200]!r} is not on this machine", place=setting, hint="Give a path or a file:// URL.")
    return Path(url)
