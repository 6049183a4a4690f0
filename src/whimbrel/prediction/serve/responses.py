"""A model's answer, or a refusal, as the HTTP response that each API has for it."""

from __future__ import annotations

from typing import NamedTuple

import orjson

from whimbrel.prediction.serve import custom_attributes, eventstream
from whimbrel.prediction.serve.bodies import JSON
from whimbrel.prediction.serve.endpoint import LiveVariant, Meta
from whimbrel.prediction.serve.served import Answer

_ERRORS = {
    400: "ValidationError",
    404: "ValidationError",
    405: "ValidationError",
    408: "ValidationError",
    413: "ValidationError",
    415: "ValidationError",
    417: "ValidationError",
    431: "ValidationError",
    401: "AccessDeniedException",
    403: "AccessDeniedException",
    503: "ServiceUnavailable",
    500: "InternalFailure",
}


class Response(NamedTuple):
    """``headers`` are whole lines, each with its line end."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: str = ""


def refusal(status: int, message: str) -> Response:
    """An error as boto3 reads it: of InvokeEndpoint by the header, of control by the body."""
    kind = _ERRORS[status]
    return Response(status, orjson.dumps({"Message": message, "__type": kind}), JSON, f"x-amzn-errortype: {kind}\r\n")


def as_sagemaker(variant: LiveVariant, answer: Answer, meta: Meta) -> Response:
    headers = f"x-amzn-requestid: {meta.request_id}\r\n{variant.headers}"
    if answer.unknown:
        headers += answer.unknown.header()
    if meta.custom_attributes:
        headers += f"{custom_attributes.NAME}: {meta.custom_attributes}\r\n"
    if answer.status == 200:
        return Response(200, answer.body, answer.content_type, headers)
    side = "client" if answer.status < 500 else "server"
    message = answer.body.decode()
    error = {
        "Message": f'Received {side} error ({answer.status}) from primary with message "{message}"',
        "OriginalStatusCode": answer.status,
        "OriginalMessage": message,
        "LogStreamArn": "",
    }
    return Response(424, orjson.dumps(error), JSON, headers + "x-amzn-errortype: ModelError\r\n")


def as_event_stream(variant: LiveVariant, answer: Answer, meta: Meta) -> Response:
    """The answer is whole before its first part is sent: so a wrong row is still a ModelError, and no model changes."""
    response = as_sagemaker(variant, answer, meta)
    if response.status != 200:
        return response
    headers = f"{response.headers}x-amzn-sagemaker-content-type: {answer.content_type}\r\n"
    return Response(200, eventstream.payload_parts(answer.body), eventstream.CONTENT_TYPE, headers)


def as_container(variant: LiveVariant, answer: Answer, meta: Meta) -> Response:
    headers = variant.served.headers + (answer.unknown.header() if answer.unknown else "")
    headers += f"{custom_attributes.NAME}: {custom_attributes.handed_on(headers, meta.custom_attributes)}\r\n"
    if answer.status == 200:
        return Response(200, answer.body, answer.content_type, headers)
    return Response(answer.status, orjson.dumps({"error": answer.body.decode()}), JSON, headers)


def no_variant(endpoint: str, meta: Meta) -> Response:
    return refusal(400, f"Endpoint {endpoint} has no production variant {meta.target_variant[:63]!r}.")


def control_error(code: int, kind: str, message: str) -> Response:
    body = orjson.dumps({"__type": kind, "message": message})
    return Response(code, body, "application/x-amz-json-1.1", f"x-amzn-errortype: {kind}\r\n")
