"""What SageMaker hands on to whoever asks an endpoint: of the container's headers, this one alone.

Its text is ours to choose: ``name=value`` of the headers that every answer has, with ``;`` between them, and then what
the request had. Source: CustomAttributes in botocore's description of InvokeEndpoint.
"""

from __future__ import annotations

from whimbrel.prediction.model.unknown import HEADER

NAME = "x-amzn-sagemaker-custom-attributes"
MOST = 1_024  # visible characters
_HANDED_ON = ("x-whimbrel-model-version", "x-whimbrel-as-of", "x-whimbrel-position", HEADER)


def handed_on(headers: str, given: str) -> str:
    """Of an answer with these ``headers``, whole lines, to a request that had ``given``."""
    found = dict(line.split(": ", 1) for line in headers.splitlines())
    said = {name: _visible(found[name]) for name in _HANDED_ON if name in found}
    count = said.get(HEADER, "").partition(",")[0]
    few = said | ({HEADER: f"{count},..."} if count else {})
    for attributes, more in ((said, given), (few, given), (few, "")):
        text = ";".join([*(f"{name}={value}" for name, value in attributes.items()), *([more] if more else [])])
        if len(text) <= MOST:
            return text
    return ""


def unknown_in(attributes: str) -> str:
    """The header of unknown categories, as the container had it; "" where it had none."""
    for part in attributes.split(";"):
        name, _, value = part.partition("=")
        if name == HEADER:
            return value.replace("%20", " ").replace(",", "; ")
    return ""


def _visible(value: str) -> str:
    """Both ``;`` and ``,`` are percent-encoded in what a header names."""
    return value.replace("; ", ",").replace(" ", "%20")
