"""Before a migration: what would go wrong, what rows become, and a project file to begin with."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from whimbrel.api.opened import ProjectLike, disk_faults_named, opened_to_migrate
from whimbrel.checks import preview as previews
from whimbrel.checks import report as reports
from whimbrel.checks.findings import Finding
from whimbrel.checks.preview import Preview, PreviewedItem, PreviewedTable
from whimbrel.checks.report import CheckReport
from whimbrel.checks.run import CheckLimits
from whimbrel.file_name import FILE_NAME
from whimbrel.private import private
from whimbrel.project import Target
from whimbrel.proposal.result import DesignedStatement, DesignedTable, DesignResult
from whimbrel.setup import project_file
from whimbrel.setup.project_file import InitResult, Tls

__all__ = [
    "CheckReport",
    "DesignResult",
    "DesignedStatement",
    "DesignedTable",
    "Finding",
    "InitResult",
    "Preview",
    "PreviewedItem",
    "PreviewedTable",
    "check",
    "design",
    "init",
    "preview",
]


def check(
    project: ProjectLike,
    *,
    rows: int = 1_000_000,
    seconds: float = 60.0,
    prices: str | os.PathLike[str] | None = None,
    statements: str = "",
    progress: Callable[[str], None] | None = None,
) -> CheckReport:
    """Everything that would go wrong, before anything is moved. Changes nothing on either side.

    At most ``rows`` rows of a table are read, for at most ``seconds`` each; 0 means all, and no limit. ``prices`` is a
    price file of your own. ``statements`` is a slow log, a general log or an .sql file with the application's
    statements, or ``"performance_schema"``: then the report says what serves each. ``progress`` is called with each
    table (``schema.table``) that was looked at.

    A source that cannot be reached is a finding, too. Raises ProjectError for the project file, the price file or the
    statements, and UserError if the extra ``lake`` is missing for ``statements``.
    """
    with opened_to_migrate(project) as found:
        limits = CheckLimits(rows, seconds, checked=progress or _ignore)
        return reports.report(found, limits, Path(prices) if prices else None, statements)


def preview(project: ProjectLike, *, tables: Iterable[str] = (), rows: int = 5) -> Preview:
    """``rows`` real rows of each table (of ``tables`` alone, if any are named), and the items that they become.

    Raises ProjectError for a table that the project does not have, MappingError, SourceError.
    """
    with opened_to_migrate(project) as found:
        return previews.preview(found, tuple(tables), rows)


def init(
    url: str,
    *,
    output: str | os.PathLike[str] = FILE_NAME,
    tables: Iterable[str] = (),
    endpoint: str = "",
    dms: str | os.PathLike[str] | None = None,
    tls: str = "",
    tls_ca: str = "",
    tls_cert: str = "",
    tls_key: str = "",
) -> InitResult:
    """Write a commented project file from the live schema at ``url`` (``mysql://user@host:port/database``).

    The password comes from the URL or from the environment variable WHIMBREL_SOURCE_PASSWORD, and is not written.
    ``tables`` are all of the database unless some are named; with ``dms``, an AWS DMS table-mapping file, those that it
    selects, mapped as it says. ``endpoint`` is a DynamoDB-compatible server. The settings of TLS are those of
    ``[source]``; without ``tls``, the server is verified where it can be.

    Raises ProjectError if ``output`` exists or the DMS file cannot be translated, PasswordWithheld, SourceError.
    """
    with private(), disk_faults_named():
        asked = Tls(tls, tls_ca, tls_cert, tls_key)
        if dms is not None:
            return project_file.init_from_dms(url, Path(dms), tuple(tables), Path(output), endpoint, asked)
        return project_file.init(url, tuple(tables), Path(output), endpoint, asked)


def design(
    url: str,
    *,
    statements: str,
    hours: float = 24.0,
    output: str | os.PathLike[str] = FILE_NAME,
    tables: Iterable[str] = (),
    endpoint: str = "",
    region: str = "",
    prices: str | os.PathLike[str] | None = None,
    seconds: float = 60.0,
    tls: str = "",
    tls_ca: str = "",
    tls_cert: str = "",
    tls_key: str = "",
) -> DesignResult:
    """Write a project file with a design for the tables at ``url`` that serves the application's ``statements``: a slow
    log, a general log, an .sql file, or ``"performance_schema"``. docs/design.md says how it is found.

    ``hours`` is the time that the statements are of. A table's rows are counted for at most ``seconds``, 0 for no
    limit; what is not known by then is assumed, and said to be. ``prices`` is a price file of your own, for ``region``.
    The other arguments are those of ``init``.

    Raises ProjectError if ``output`` exists, or the statements or prices cannot be read; UserError if the extra
    ``lake`` is missing, or no table can be moved; PasswordWithheld, SourceError.
    """
    from whimbrel.proposal.propose import DesignLimits, propose

    with private(), disk_faults_named():
        return propose(
            url,
            tuple(tables),
            statements,
            Path(output),
            Target(endpoint=endpoint, region=region),
            DesignLimits(hours, seconds),
            Path(prices) if prices else None,
            Tls(tls, tls_ca, tls_cert, tls_key),
        )


def _ignore(table: str) -> None: ...
