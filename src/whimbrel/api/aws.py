"""On AWS: what a project needs there, as files to deploy."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from whimbrel.api.opened import ProjectLike, disk_faults_named, opened_to_migrate
from whimbrel.aws import package as packages
from whimbrel.aws.package import PLATFORMS, AwsPackage
from whimbrel.aws.written import AwsTemplate, write_template
from whimbrel.errors import UserError

__all__ = ["AwsPackage", "AwsTemplate", "aws_package", "aws_template"]


def aws_template(
    project: ProjectLike, *, account: str, region: str = "", key: str = "", output: str | os.PathLike[str] = "aws"
) -> AwsTemplate:
    """Write the CloudFormation template of the project into the folder ``output``, and each of its policies as JSON.

    The policies are for ``account``, twelve digits, and for ``region``, the project's own by default. The template is
    for any. ``key`` is the ARN of a KMS key that is to encrypt everything, instead of those of the services. Raises
    ProjectError for what cannot be an account, a region or a key, and for more tables than policies take.
    """
    with opened_to_migrate(project) as found:
        return write_template(found, Path(output), account, region, key)


def aws_package(
    *,
    architectures: Iterable[str] = tuple(PLATFORMS),
    output: str | os.PathLike[str] = "aws",
    wheels: str | os.PathLike[str] | None = None,
    spark: bool = False,
) -> tuple[AwsPackage, ...]:
    """Write the function's package as a zip file into the folder ``output``, for each of ``architectures``: ``arm64``
    and ``x86_64``; with ``spark``, the archive of the Spark job instead. The same versions of whimbrel, Python and zlib
    make the same bytes.

    pip fetches what whimbrel needs, unless ``wheels`` is a folder that has it. Raises UserError if it cannot be had.
    """
    wanted = tuple(architectures)
    if unknown := [each for each in wanted if each not in PLATFORMS]:
        hint = f"Lambda has: {', '.join(PLATFORMS)}."
        raise UserError(f"{unknown[0]!r} is not an architecture of Lambda", place="aws package", hint=hint)
    with disk_faults_named():
        make = packages.job_archive if spark else packages.package
        return make(wanted, Path(output), Path(wheels) if wheels is not None else None)
