"""The ``[metrics]`` part of the project file: where a run shows its figures to Prometheus."""

from __future__ import annotations

from dataclasses import dataclass

from whimbrel.project.section import Section

MOST_PORT = 65_535


@dataclass(frozen=True, slots=True)
class MetricsAddress:
    """``port`` 0: nowhere."""

    port: int = 0
    host: str = "127.0.0.1"


def read_metrics(top: Section) -> MetricsAddress:
    """What is wrong goes to the section's faults."""
    section, default = top.section("metrics"), MetricsAddress()
    metrics = MetricsAddress(section.integer("port", default.port), section.string("host", default.host))
    if metrics.port > MOST_PORT:
        section.fault("port", f"must be {MOST_PORT} or less, not {metrics.port}")
    if not metrics.host:
        section.fault("host", "must be an address; leave it out for this machine alone")
    section.finish()
    return metrics
