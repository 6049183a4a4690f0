"""What botocore knows of AWS's services is read as botocore reads it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from botocore.exceptions import DataNotFoundError, UnknownServiceError
from botocore.loaders import create_loader

from whimbrel.dynamodb.service_files import service_files


@pytest.mark.parametrize("name", ["dynamodb", "s3", "sts", "glue"])
def test_the_files_are_read_as_botocore_reads_them(name: str) -> None:
    """The rules for endpoints are packed, and those of S3 the largest file."""
    ours, own = service_files(None), create_loader()
    for kind in ("service-2", "endpoint-rule-set-1", "paginators-1"):
        assert ours.load_service_model(name, kind) == own.load_service_model(name, kind)
    for each in ("endpoints", "partitions", "_retry", "sdk-default-configuration"):
        assert ours.load_data(each) == own.load_data(each)


def test_other_files_are_found_first(tmp_path: Path) -> None:
    for place in ("a", "b"):
        folder = tmp_path / place / "s3" / "2020-01-01"
        folder.mkdir(parents=True)
        (folder / "service-2.json").write_text(json.dumps({"of": place}))
    path = os.pathsep.join([str(tmp_path / "a"), str(tmp_path / "b"), str(tmp_path / "none")])
    for each in (service_files(path), create_loader(path)):
        assert each.load_service_model("s3", "service-2", "2020-01-01") == {"of": "a"}


def test_a_service_that_is_not_known_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnknownServiceError, match="'s4'"):
        service_files(None).load_service_model("s4", "service-2")
    (tmp_path / "s4").mkdir()
    with pytest.raises(DataNotFoundError, match="s4"):
        service_files(str(tmp_path)).load_service_model("s4", "service-2")
