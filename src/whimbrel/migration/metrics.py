"""A run's figures for Prometheus, at the address of ``[metrics]``, while the run is at work.

Names and units are those of Prometheus' conventions; docs/metrics.md lists them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from whimbrel.errors import UserError
from whimbrel.migration.progress import Progress
from whimbrel.project import Project

PHASES = ("start", "snapshot", "load", "apply", "verify", "cutover", "rollback", "capture", "retry")
# Name, kind, what it is, and where it is in Progress; of counters the name is without its _total.
FIGURES = (
    ("whimbrel_changes_captured", "counter", "Changes in the change log since it began.", "captured"),
    ("whimbrel_changes_applied", "counter", "Changes in the target since the change log began.", "applied"),
    ("whimbrel_lag_changes", "gauge", "Captured changes that are not in the target yet.", "lag_changes"),
    ("whimbrel_lag_seconds", "gauge", "Age of the newest change in the target; absent before one is.", "lag_seconds"),
    ("whimbrel_caught_up", "gauge", "1 when the target has everything that the source has committed.", "caught_up"),
    ("whimbrel_dead_letters", "gauge", "Rows that could not become items, and wait for retry-dead.", "dead"),
    ("whimbrel_writes_skipped", "counter", "Writes that the condition of their table skipped.", "held"),
    ("whimbrel_write_units", "counter", "Write units that DynamoDB charged this run for.", "write_units"),
    ("whimbrel_write_throttles", "counter", "Writes that DynamoDB refused for going too fast.", "throttles"),
    ("whimbrel_source_threads", "gauge", "Statements at work on the source.", "source_threads"),
    ("whimbrel_source_reconnects", "counter", "Times that the capture connected again.", "reconnects"),
)
OF_TABLES = (
    ("whimbrel_table_rows_estimated", "gauge", "Rows of a table by the source's own estimate.", "estimated_rows"),
    ("whimbrel_table_rows_exported", "counter", "Rows of a table that were exported.", "exported_rows"),
    ("whimbrel_table_rows_loaded", "counter", "Exported rows of a table that were loaded.", "loaded_rows"),
    ("whimbrel_table_items_loaded", "counter", "Items that the rows of a table became.", "loaded_items"),
    ("whimbrel_table_sent_bytes", "counter", "Bytes of the requests that loaded a table.", "sent_bytes"),
)
OTHERS = {
    "whimbrel_phase": "1 for the phase that the run is in, 0 for the others.",
    "whimbrel_write_units_cap": "max_write_units of the project file, a second; 0 for none.",
    "whimbrel_source_answered_seconds": "Seconds since the source was last asked and nothing was wrong.",
    "whimbrel_target_refused_seconds": "Seconds for which DynamoDB has taken no write of some; 0 where it takes them.",
}


@contextmanager
def measured(project: Project, progress: Progress) -> Iterator[None]:
    """The figures can be read while this is entered, if the project says where.

    Raises UserError if nothing can listen there, or the extra ``metrics`` is missing.
    """
    if not project.metrics.port:
        yield
        return
    try:
        from prometheus_client import CollectorRegistry, start_http_server
    except ImportError as error:
        hint = "Install it with: pip install 'whimbrel[metrics]'"
        raise UserError("the package prometheus_client is not installed", place="[metrics]", hint=hint) from error
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures(project, progress))
    host, port = project.metrics.host, project.metrics.port
    try:
        server, thread = start_http_server(port, addr=host, registry=registry)
    except OSError as error:
        hint = "Choose another port; each run on this machine needs one of its own."
        raise UserError(f"cannot listen at {host}:{port}: {error.strerror}", place="[metrics]", hint=hint) from None
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Figures:
    """What prometheus_client calls a collector: asked each time that somebody reads."""

    def __init__(self, project: Project, progress: Progress) -> None:
        self._cap = project.target.max_write_units
        self._progress = progress

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        kinds: dict[str, Any] = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily}
        progress = self._progress
        for name, kind, about, field in FIGURES:
            value = getattr(progress, field)
            if value is not None:
                yield kinds[kind](name, about, value=float(value))
        for name, kind, about, field in OF_TABLES:
            family = kinds[kind](name, about, labels=["table"])
            for table, counts in list(progress.tables.items()):
                family.add_metric([table], float(getattr(counts, field)))
            yield family
        phase = GaugeMetricFamily("whimbrel_phase", OTHERS["whimbrel_phase"], labels=["phase"])
        for each in PHASES:
            phase.add_metric([each], float(progress.phase == each))
        yield phase
        name = "whimbrel_write_units_cap"
        yield GaugeMetricFamily(name, OTHERS[name], value=self._cap)
        name, since = "whimbrel_target_refused_seconds", progress.refused_at
        yield GaugeMetricFamily(name, OTHERS[name], value=time.monotonic() - since if since else 0.0)
        if progress.asked:
            name = "whimbrel_source_answered_seconds"
            yield GaugeMetricFamily(name, OTHERS[name], value=time.monotonic() - progress.asked)
