"""``[log]`` and ``[apply]``: what carries the changes from the source to the target, and who applies them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from whimbrel.project.section import Section

LOGS, APPLIERS, FORMS = ("files", "kinesis"), ("process", "lambda"), ("packed", "post")
LEAST_CAP = 32  # write units: one a second for each lane of a stream


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream of Kinesis. ``form`` is that of its records, ``endpoint`` a stand-in's, "" for AWS. ``failures`` is the
    queue to which Lambda reports the batches that it gave up, "" for none, at ``failures_endpoint``.
    """

    name: str
    form: str = "packed"
    endpoint: str = ""
    failures: str = ""
    failures_endpoint: str = ""


def read_stream(top: Section) -> Stream | None:
    """None where the process itself applies the files of its change log."""
    log, applying = top.section("log"), top.section("apply")
    engine, applier = log.one_of("engine", LOGS), applying.one_of("engine", APPLIERS)
    stream = Stream(
        log.string("stream", ""),
        log.one_of("format", FORMS),
        log.address("endpoint"),
        applying.string("failures", ""),
        applying.address("endpoint"),
    )
    if engine == "kinesis":
        if not re.fullmatch(r"[a-zA-Z0-9_.-]{1,128}", stream.name):
            log.fault("stream", f"must be the name of a Kinesis stream, not {stream.name!r}")
        if applier != "lambda":
            applying.fault("engine", 'must be "lambda" with log.engine = "kinesis": a function reads the stream')
        if stream.failures and not re.fullmatch(r"[a-zA-Z0-9_-]{1,80}", stream.failures):
            applying.fault("failures", f"must be the name of a queue of SQS, not {stream.failures!r}")
    else:
        for key in ("stream", "format", "endpoint"):
            if log.has(key):
                log.fault(key, 'has no effect without log.engine = "kinesis"')
        for key in ("failures", "endpoint"):
            if applying.has(key):
                applying.fault(key, 'has no effect without engine = "lambda"')
        if applier == "lambda":
            applying.fault("engine", 'must be "process" without log.engine = "kinesis": there is no stream to read')
    log.finish()
    applying.finish()
    return stream if engine == "kinesis" else None
