"""The headers of InvokeEndpoint: those that are honoured, those that change nothing here, and those that are refused.

A header that would change the answer on SageMaker, and is not honoured here, must not be taken without a word.
"""

from __future__ import annotations

from collections.abc import Mapping

_PREFIX = b"x-amzn-sagemaker-"
# What this server does as SageMaker does. The prefix id only says to which of several instances a call goes.
_TAKEN = {
    _PREFIX + name for name in (b"accept", b"custom-attributes", b"target-variant", b"inference-id", b"prefix-aware-id")
}
_REFUSED = {
    _PREFIX + b"target-model": "an endpoint serves the model of its variant: name the endpoint or the variant",
    _PREFIX + b"target-container-hostname": "an endpoint has one container",
    _PREFIX + b"inference-component": "an endpoint has no inference components",
    _PREFIX + b"enable-explanations": "online explanations are not supported; see the importance in the model's report",
    _PREFIX + b"session-id": "sessions are not supported: calls are independent",
}


def unsupported(headers: Mapping[bytes, bytes], *, every: bool) -> str:
    """Why a call with these headers (names in lower case) cannot be answered as it asks, or "".

    ``every``: SageMaker's own headers that are not known are refused too. In a container they are the platform's.
    """
    if _PREFIX not in b" ".join(headers):  # nearly always
        return ""
    for name in headers:
        if name.startswith(_PREFIX) and name not in _TAKEN and (every or name in _REFUSED):
            why = _REFUSED.get(name, "it is not known")
            return f"The header {name.decode('latin-1')[:100]} cannot be honoured: {why}. Leave it out."
    return ""
