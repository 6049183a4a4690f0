"""Figures in Prometheus' text format (version 0.0.4)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from whimbrel.prediction.serve.endpoint import Fleet, LiveVariant
from whimbrel.prediction.serve.figures import BOUNDS
from whimbrel.prediction.serve.serving import Serving

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# By metric: its type, and what it says of itself.
HELP = {
    "whimbrel_invocations_total": ("counter", "Calls answered by a variant, by the container's status."),
    "whimbrel_rows_total": ("counter", "Rows predicted."),
    "whimbrel_unknown_categories_total": ("counter", "Values of a column of categories that training never saw."),
    "whimbrel_model_latency_seconds": ("histogram", "Time that the model took."),
    "whimbrel_latency_seconds": ("histogram", "Time from a request's arrival to its answer, with its wait in queues."),
    "whimbrel_variant_share": ("gauge", "The share of its endpoint's calls that a variant gets."),
    "whimbrel_endpoint_up": ("gauge", "1 where the endpoint answers."),
    "whimbrel_endpoint_updating": ("gauge", "1 while an update is under way."),
    "whimbrel_model_info": ("gauge", "1 for each model version in service."),
    "whimbrel_captured_total": ("counter", "Calls written by the data capture."),
    "whimbrel_capture_dropped_total": ("counter", "Calls that the data capture could not write."),
    "whimbrel_refused_total": ("counter", "Requests refused before they were read, by HTTP status."),
    "whimbrel_connections": ("gauge", "Open connections."),
    "whimbrel_held_bytes": (
        "gauge",
        "Memory held for bodies, connections and answers.",
    ),
}


def page(serving: Serving, refused: dict[int, int], connections: int, held: int) -> str:
    """Everything that is counted; counters begin with the fleet that counts them, as after a restart."""
    lines: dict[str, list[str]] = {name: [] for name in HELP}
    for name, live in serving.live.items():
        stored = serving.state.endpoints.get(name)
        up, updating = int(live.fleet is not None), int(bool(stored and stored.pending))
        lines["whimbrel_endpoint_up"].append(f'{{endpoint="{name}"}} {up}')
        lines["whimbrel_endpoint_updating"].append(f'{{endpoint="{name}"}} {updating}')
        trial = live.trial
        if live.fleet:
            _fleet(lines, name, live.fleet, "serving", 1.0 - (trial.share if trial else 0.0))
        if trial:
            _fleet(lines, name, trial.fleet, "trial", trial.share)
    lines["whimbrel_captured_total"].append(f" {serving.call_writer.kept}")
    lines["whimbrel_capture_dropped_total"].append(f" {serving.call_writer.dropped}")
    lines["whimbrel_connections"].append(f" {connections}")
    lines["whimbrel_held_bytes"].append(f" {held}")
    lines["whimbrel_refused_total"] += [f'{{code="{code}"}} {count}' for code, count in sorted(refused.items())]
    return "".join(_metric(name, found) for name, found in lines.items())


def _metric(name: str, found: list[str]) -> str:
    kind, about = HELP[name]
    samples = "".join(f"{name}{each}\n" if each[0] in "{ " else f"{name}_{each}\n" for each in found)
    return f"# HELP {name} {about}\n# TYPE {name} {kind}\n{samples}"


def _fleet(lines: dict[str, list[str]], endpoint: str, fleet: Fleet, role: str, share: float) -> None:
    whole = sum(each.weight for each in fleet.variants) or len(fleet.variants)
    for variant in fleet.variants:
        weight = variant.weight / whole if any(each.weight for each in fleet.variants) else 1 / whole
        _variant(lines, endpoint, variant, role, share * weight)
    if fleet.shadow:
        _variant(lines, endpoint, fleet.shadow, "shadow", 0.0)


def _variant(lines: dict[str, list[str]], endpoint: str, variant: LiveVariant, role: str, share: float) -> None:
    figures = variant.figures
    labels = f'endpoint="{endpoint}",variant="{variant.name}",role="{role}",version="{_text(variant.served.version)}"'
    for code, count in sorted(figures.codes.items()):
        lines["whimbrel_invocations_total"].append(f'{{{labels},code="{code}"}} {count}')
    lines["whimbrel_rows_total"].append(f"{{{labels}}} {figures.rows}")
    lines["whimbrel_unknown_categories_total"] += [
        f'{{{labels},column="{_text(column)}"}} {count}' for column, count in figures.unknown.counts.items()
    ]
    lines["whimbrel_variant_share"].append(f"{{{labels}}} {share:g}")
    lines["whimbrel_model_info"].append(f'{{{labels},model="{_text(variant.served.name)}"}} 1')
    lines["whimbrel_model_latency_seconds"] += list(_histogram(labels, figures.buckets, figures.seconds))
    lines["whimbrel_latency_seconds"] += list(_histogram(labels, figures.waits, figures.waited))


def _histogram(labels: str, counts: Sequence[int], seconds: float) -> Iterator[str]:
    total = 0
    for bound, count in zip((*map(repr, BOUNDS), "+Inf"), counts, strict=True):
        total += count
        yield f'bucket{{{labels},le="{bound}"}} {total}'
    yield f"sum{{{labels}}} {seconds!r}"
    yield f"count{{{labels}}} {total}"


def _text(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
