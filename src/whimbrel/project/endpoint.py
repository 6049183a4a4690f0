"""The ``[[endpoint]]`` and ``[serve]`` parts of the project file: what is served, how an update is shifted, where."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from whimbrel.project.sagemaker import MOST_SHIFT, NAME, Hosting, read_hosting
from whimbrel.project.section import Section

UNKNOWN = ("count", "refuse")
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
    unknown: str = "count"  # how a category that training never saw is handled
    hosting: Hosting | None = None  # None: `whimbrel serve` answers


@dataclass(frozen=True, slots=True)
class Serve:
    """Where the server listens, what it takes on, and whom it lets in. Sizes in bytes, durations in seconds."""

    host: str = "127.0.0.1"
    port: int = 8080
    max_body: int = 5 << 20
    request_timeout: float = 30.0
    memory: int = 256 << 20  # of all bodies, connections and answers together
    token_env: str = ""  # control's token: a variable's name, or a file
    token_file: str = ""
    predict_token_env: str = ""  # that of predictions
    predict_token_file: str = ""
    access_key: str = "whimbrel"  # the access key that goes with a token as its secret key
    allowed_hosts: tuple[str, ...] = ()
    folders: tuple[str, ...] = (".",)  # below which control calls may name files; from the project file's folder


def read_endpoints(top: Section) -> tuple[EndpointRule, ...]:
    """Every [[endpoint]]; what is wrong goes to the section's faults."""
    return tuple(_read_endpoint(each) for each in top.optional_sections("endpoint"))


def read_serve(top: Section) -> Serve:
    section = top.section("serve")
    default = Serve()
    serve = Serve(
        host=section.string("host", default.host),
        port=section.integer("port", default.port),
        max_body=section.integer("max_body", default.max_body, least=1),
        request_timeout=section.number("request_timeout", default.request_timeout),
        memory=section.integer("memory", default.memory, least=16 << 20),
        token_env=section.string("token_env", default.token_env),
        token_file=section.string("token_file", default.token_file),
        predict_token_env=section.string("predict_token_env", default.predict_token_env),
        predict_token_file=section.string("predict_token_file", default.predict_token_file),
        access_key=section.string("access_key", default.access_key),
        allowed_hosts=tuple(section.strings("allowed_hosts")),
        folders=tuple(section.strings("folders")) if section.has("folders") else default.folders,
    )
    for name in ("token", "predict_token"):
        if getattr(serve, f"{name}_env") and getattr(serve, f"{name}_file"):
            section.fault(f"{name}_file", f"is set together with {name}_env: set only one of them")
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,128}", serve.access_key):
        section.fault("access_key", "must consist of letters, digits, '_', '.' and '-'")
    if not serve.request_timeout:
        section.fault("request_timeout", "must be more than 0")
    section.finish()
    return serve


def _read_endpoint(section: Section) -> EndpointRule:
    name = section.folder_name("name")
    default = EndpointRule("", "")
    rule = EndpointRule(
        name=name,
        model=section.string("model", name),
        variant=section.string("variant", default.variant),
        traffic=section.one_of("traffic", TRAFFIC),
        step_percent=section.integer("step_percent", default.step_percent, least=1),
        wait=section.integer("wait", default.wait),
        bake=section.integer("bake", default.bake),
        max_error_rise=section.number("max_error_rise", default.max_error_rise),
        max_latency_ratio=section.number("max_latency_ratio", default.max_latency_ratio),
        least_calls=section.integer("least_calls", default.least_calls, least=1),
        capture_percent=section.integer("capture_percent", default.capture_percent),
        capture_folder=section.string("capture_folder", default.capture_folder),
        unknown=section.one_of("unknown", UNKNOWN),
        hosting=read_hosting(section),
    )
    if rule.hosting:
        for key, found in (("name", rule.name), ("variant", rule.variant)):
            if not NAME.fullmatch(found):
                section.fault(key, f"must be letters, digits and hyphens for SageMaker, 63 at most, not {found!r}")
        for key, seconds in (("wait", rule.wait), ("bake", rule.bake)):
            if seconds > MOST_SHIFT:
                section.fault(key, f"must be {MOST_SHIFT} or less, not {seconds}")
    if rule.hosting and rule.hosting.serverless_mb:
        rule = replace(rule, traffic="ALL_AT_ONCE", capture_percent=0)
    if rule.capture_percent > 100:
        section.fault("capture_percent", f"must be 100 or less, not {rule.capture_percent}")
    if rule.step_percent > 50 or (rule.traffic == "LINEAR" and rule.step_percent < 10):
        section.fault("step_percent", f"must be 1 to 50 (LINEAR: 10 to 50), not {rule.step_percent}")
    section.finish()
    return rule
