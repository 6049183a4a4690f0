"""What botocore knows of AWS's services: files of JSON. To read them as it does takes most of the time of a client."""

from __future__ import annotations

import gzip
import os
from typing import Any

import orjson
from botocore.loaders import JSONFileLoader, Loader


def service_files(data_path: str | None) -> Loader:
    """As ``botocore.loaders.create_loader``: ``data_path`` names more folders, as AWS_DATA_PATH does."""
    more = [os.path.expanduser(os.path.expandvars(each)) for each in data_path.split(os.pathsep)] if data_path else []
    return _Files(more, _File())


class _Files(Loader):
    def list_available_services(self, type_name: str) -> list[str]:
        """All folders that a service may have. botocore looks into each of the 400 for a file of this type; where there
        is none, it says so later.
        """
        return sorted({name for path in self.search_paths if os.path.isdir(path) for name in os.listdir(path)})


class _File(JSONFileLoader):
    def load_file(self, file_path: str) -> Any:
        """None where there is none."""
        if os.path.isfile(plain := f"{file_path}.json"):
            with open(plain, "rb") as file:
                return orjson.loads(file.read())
        if os.path.isfile(packed := f"{file_path}.json.gz"):
            with gzip.open(packed) as file:
                return orjson.loads(file.read())
        return None
