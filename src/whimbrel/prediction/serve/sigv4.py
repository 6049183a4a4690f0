"""Checking AWS Signature Version 4, as boto3, the AWS CLI and curl sign a request with a key pair that both sides know.

Source: "Create a signed AWS API request" in AWS's documentation (IAM User Guide). The signature is an HMAC over the
method, the path, the query, the headers that it names and the SHA-256 of the body: so none of them can be changed, and
a request that is overheard can be sent again for five minutes only.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import quote

SERVICES = ("sagemaker", "logs")  # boto3 signs for the service that its client is of
WINDOW = 300.0  # seconds that a signature's date may be away from now
ALGORITHM = "AWS4-HMAC-SHA256"
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 +Credential=([^/,\s]{1,128})/(\d{8})/([a-z0-9-]{1,64})/([a-z0-9-]{1,64})/aws4_request"
    r", *SignedHeaders=([a-z0-9;_-]{1,4096}), *Signature=([0-9a-f]{64})"
)
_DATE = re.compile(r"\d{8}T\d{6}Z")
# Headers that change what a request means must be signed; this one is added on the way.
_UNSIGNED = ("x-amzn-trace-id",)


class Signed(NamedTuple):
    """What is signed of a request, as it was sent: ``headers`` with lower-case names."""

    method: str
    path: str
    query: str
    headers: Sequence[tuple[str, str]]
    body: bytes


def fault(request: Signed, key_id: str, secrets: Iterable[str], now: float) -> str:
    """Why the request is not one of somebody who has the key pair, or ""; ``now`` is in seconds since 1970."""
    headers: dict[str, str] = {}
    for name, value in request.headers:
        if name in headers and (name in ("authorization", "host") or name.startswith("x-amz")):
            return f"the header {name} appears twice"
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    found = _AUTHORIZATION.fullmatch(headers.get("authorization", ""))
    if not found:
        return "the header Authorization is not a Signature Version 4"
    key, day, region, service, names, signature = found.groups()
    if reason := _of_another_time(headers.get("x-amz-date", ""), day, now) or _unsigned(headers, names.split(";")):
        return reason
    if service not in SERVICES:
        return f"the signature is for {service!r}, not for {' or '.join(map(repr, SERVICES))}"
    payload = hashlib.sha256(request.body).hexdigest()
    if headers.get("x-amz-content-sha256", payload) != payload:
        return "the body is not the one that x-amz-content-sha256 names"
    lines = [request.method, _path(request.path), _query(request.query)]
    lines += [f"{name}:{' '.join(headers[name].split())}" for name in names.split(";")]
    canonical = "\n".join([*lines, "", names, payload])
    scope = f"{day}/{region}/{service}/aws4_request"
    to_sign = "\n".join((ALGORITHM, headers["x-amz-date"], scope, hashlib.sha256(canonical.encode()).hexdigest()))
    # Every secret is tried, and the key's name compared last: the time taken says nothing of either.
    matches = [hmac.compare_digest(_signature(each, day, region, service, to_sign), signature) for each in secrets]
    return "" if any(matches) and hmac.compare_digest(key.encode(), key_id.encode()) else "the signature does not match"


def _of_another_time(date: str, day: str, now: float) -> str:
    try:
        moment = datetime.strptime(date if _DATE.fullmatch(date) else "", "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return "the header x-amz-date is not a date of the form 20260131T235959Z"
    if not date.startswith(day):
        return "the signature is for another day than the request"
    away = moment.timestamp() - now
    if abs(away) > WINDOW:
        return f"the request is of {abs(away):.0f} seconds {'from now' if away > 0 else 'ago'}; check both clocks"
    return ""


def _unsigned(headers: dict[str, str], names: list[str]) -> str:
    needed = {name for name in headers if name.startswith("x-amz") and name not in _UNSIGNED} | {"host"}
    if missing := sorted(needed - set(names)):
        return f"the signature leaves out {', '.join(missing)[:200]}"
    if unknown := sorted(set(names) - set(headers)):
        return f"the signature names headers that are not there: {', '.join(unknown)[:200]}"
    return "" if names == sorted(set(names)) else "the signed headers are not sorted"


def _signature(secret: str, day: str, region: str, service: str, to_sign: str) -> str:
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request", to_sign):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key.hex()


def _path(path: str) -> str:
    """Each part once more percent-encoded, without empty parts and dots, as every service but S3 has it."""
    kept: list[str] = []
    for part in path.split("/"):
        if part == "..":
            kept[-1:] = []
        elif part not in ("", "."):
            kept.append(part)
    end = "/" if kept and path.endswith("/") else ""
    return quote("/" + "/".join(kept) + end, safe="/~")


def _query(query: str) -> str:
    pairs = (part.partition("=") for part in query.split("&") if part)
    return "&".join(f"{name}={value}" for name, value in sorted((name, value) for name, _, value in pairs))
