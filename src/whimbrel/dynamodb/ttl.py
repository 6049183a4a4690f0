"""A table's time to live: by which attribute DynamoDB deletes items, some time after the second that it says.

Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/TTL.html
"""

from __future__ import annotations

from typing import Any

from whimbrel.dynamodb.session import translate
from whimbrel.errors import TargetError

ON = ("ENABLED", "ENABLING")


def ttl_attribute(client: Any, name: str) -> str:
    """ "" where the table's time to live is off."""
    try:
        found: Any = client.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    except Exception as error:
        translate(error, name)
    return str(found.get("AttributeName", "")) if found["TimeToLiveStatus"] in ON else ""


def turn_ttl_on(client: Any, name: str, attribute: str) -> None:
    """May be repeated. Raises TargetError where it is on by another attribute."""
    if (now := ttl_attribute(client, name)) == attribute:
        return
    if now:
        raise TargetError(
            f"the table's time to live is on by attribute {now!r}, and {attribute!r} is wanted",
            place=name,
            hint="Switch it off; DynamoDB takes up to an hour to change it. Then run the same command again.",
        )
    try:
        client.update_time_to_live(
            TableName=name, TimeToLiveSpecification={"Enabled": True, "AttributeName": attribute}
        )
    except Exception as error:
        translate(error, name)


def on_too_early(name: str, attribute: str) -> TargetError:
    return TargetError(
        f"its time to live is on, by attribute {attribute!r}: what DynamoDB deletes before the cutover would be "
        "missing to verify, and be put again by a replay",
        place=name,
        hint="Switch it off until then: `whimbrel finish` switches it on.",
    )
