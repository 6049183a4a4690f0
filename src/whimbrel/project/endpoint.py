"""The ``[[endpoint]]`` and ``[serve]`` parts of the project file: what is served, how an update is shifted, where."""

from __future__ import annotations

from dataclasses import dataclass

from whimbrel.project.section import Section

TRAFFIC = ("CANARY", "LINEAR", "ALL_AT_ONCE")


@dataclass(frozen=True, slots=True)
class EndpointRule:
    """An endpoint and the ``[[model]]`` behind it. ``wait`` and ``bake`` are whole seconds, as on SageMaker.

    An update gets ``step_percent`` of the calls for ``wait`` seconds (CANARY), or that much more after each ``wait``
    (LINEAR), then all of them for ``bake`` seconds, and goes back when the guard's figures say so: over
    ``least_calls``, more than a share ``max_error_rise`` failed of what the old model can answer, or it is slower than
    the old one by ``max_latency_ratio``.
    """

    name: str
    model: str
    variant: str = "AllTraffic"
    traffic: str = "CANARY"
    step_percent: int = 10
    wait: int = 10
    bake: int = 5
    max_error_rise: float = 0.01
    max_latency_ratio: float = 3.0
    least_calls: int = 20
    capture_percent: int = 10
    capture_folder: str = ""  # below the state folder


@dataclass(frozen=True, slots=True)
class Serve:
    """Where the server listens and what it bears. Durations in seconds."""

    host: str = "127.0.0.1"
    port: int = 8080
    max_body: int = 5 << 20  # bytes
    request_timeout: float = 30.0


def read_endpoints(top: Section) -> tuple[EndpointRule, ...]:
    """Every [[endpoint]]; what is wrong goes to the section's faults."""
    return tuple(_read_endpoint(each) for each in top.optional_sections("endpoint"))


def read_serve(top: Section) -> Serve:
    section = top.section("serve")
    serve = Serve(
        host=section.text("host", "127.0.0.1"),
        port=section.whole("port", 8080),
        max_body=section.whole("max_body", 5 << 20, least=1),
        request_timeout=section.number("request_timeout", 30.0),
    )
    if not serve.request_timeout:
        section.fault("request_timeout", "must be more than 0")
    section.finish()
    return serve


def _read_endpoint(section: Section) -> EndpointRule:
    name = section.required("name")
    rule = EndpointRule(
        name=name,
        model=section.text("model", name),
        variant=section.text("variant", "AllTraffic"),
        traffic=section.one_of("traffic", TRAFFIC),
        step_percent=section.whole("step_percent", 10, least=1),
        wait=section.whole("wait", 10),
        bake=section.whole("bake", 5),
        max_error_rise=section.number("max_error_rise", 0.01),
        max_latency_ratio=section.number("max_latency_ratio", 3.0),
        least_calls=section.whole("least_calls", 20, least=1),
        capture_percent=section.whole("capture_percent", 10),
        capture_folder=section.text("capture_folder", ""),
    )
    if rule.capture_percent > 100:
        section.fault("capture_percent", f"must be 100 or less, not {rule.capture_percent}")
    if rule.step_percent > 50 or (rule.traffic == "LINEAR" and rule.step_percent < 10):
        section.fault("step_percent", f"must be 1 to 50 (LINEAR: 10 to 50), not {rule.step_percent}")
    section.finish()
    return rule
