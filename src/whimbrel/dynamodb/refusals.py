"""What DynamoDB's error codes mean to us.

Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
"""

from __future__ import annotations

from whimbrel.errors import PrivilegeError, RequestRefused, TargetUnreachable, Throttled, WhimbrelError

THROTTLES = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "ThrottlingException",
        "Throttling",
        "ThrottledException",
        "RequestLimitExceeded",
        "LimitExceededException",
        "LimitExceeded",
        "TransactionConflictException",  # the application's own transaction holds the item: over in a moment
        "TransactionInProgressException",
        "ReplicatedWriteConflictException",
        "TooManyRequestsException",  # of Athena
        "KMSThrottlingException",  # of Kinesis, with a key of the user's
        *("RequestThrottled", "KmsThrottled", "OverLimit"),  # of SQS
    }
)
EXPIRED = frozenset({"ExpiredTokenException", "ExpiredToken"})
# One item can cause these; in a BatchWriteItem they refuse the whole batch and nothing of it is written.
ITEM_FAULTS = frozenset(
    {"ValidationException", "SerializationException", "ItemCollectionSizeLimitExceededException", "Unencodable"}
)
CONDITION_FAILED = "ConditionalCheckFailedException"
UNEXPECTED_HINT = (
    "Check the endpoint and any proxy in between: DynamoDB does not answer like this. Then run the same command."
)
# A number is all that an answer to HEAD has. The last two are of a key, for Kinesis and SQS.
_DENIED = frozenset({"AccessDeniedException", "AccessDenied", "403", "KMSAccessDeniedException", "KmsAccessDenied"})
_HINTS = {
    "ExpiredTokenException": "The AWS session has expired: sign in again, then run the same command.",
    "ExpiredToken": "The AWS session has expired: sign in again, then run the same command.",
    "UnrecognizedClientException": "The access key is not known in this region: check the profile and the region.",
    "InvalidSignatureException": "Check the secret key, and this machine's clock.",
    "ResourceLimitExceeded": "Ask AWS for a higher quota (Service Quotas), or set another instance.",
    "ResourceNotFoundException": "Check the table's name and the region.",
}


def error_for(status: int, code: str, message: str, place: str) -> WhimbrelError:
    """The error for an answer with this HTTP status and DynamoDB's code and message."""
    if status != 400 and code in ITEM_FAULTS | {CONDITION_FAILED}:  # of one item, and so not an error: by 400 only
        code = f"HTTP {status} {code}"
    if code in THROTTLES or status == 429:
        return Throttled(f"{code}: {message}", place=place)
    if status >= 500 or status == 408 or code == "InternalServerError":
        return TargetUnreachable(f"{code}: {message}", place=place)
    if code in _DENIED:
        hint = "Give the account this permission; docs/security.md and docs/aws.md list what is needed."
        return PrivilegeError(message, place=place, hint=hint)
    return RequestRefused(f"{code}: {message}", code=code, place=place, hint=_HINTS.get(code, ""))
