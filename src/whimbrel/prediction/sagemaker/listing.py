"""What the List operations have in common: filters, order and pages. A filter that is not known is refused by name: a
list without it would be of other things.
"""

from __future__ import annotations

from typing import Any

from whimbrel.errors import UserError

Values = dict[str, Any]
_ORDERS = {"Ascending": False, "Descending": True}
_TIMES = {
    "CreationTimeAfter": ("CreationTime", 1),
    "CreationTimeBefore": ("CreationTime", -1),
    "LastModifiedTimeAfter": ("LastModifiedTime", 1),
    "LastModifiedTimeBefore": ("LastModifiedTime", -1),
}
_KNOWN = {"NameContains", "StatusEquals", "SortBy", "SortOrder", "MaxResults", "NextToken", *_TIMES}


def listed(answer: str, kind: str, found: list[Values], given: Values) -> Values:
    """The page of ``found`` that was asked for, under ``answer``; ``<kind>Name`` is what each is called. The newest are
    first, as SageMaker lists them, unless another order is asked for. Raises UserError; TypeError, ValueError.
    """
    if unknown := given.keys() - _KNOWN:
        raise UserError(f"{min(unknown)[:80]} is not supported", place=f"List{answer}", hint="Leave it out.")
    part = given.get("NameContains", "").lower()
    kept = [each for each in found if part in each[f"{kind}Name"].lower()]
    if status := given.get("StatusEquals"):
        kept = [each for each in kept if _value(each, f"{kind}Status", "StatusEquals") == status]
    for filter_, (field, sign) in _TIMES.items():
        if filter_ in given:
            kept = [each for each in kept if sign * (_value(each, field, filter_) - given[filter_]) > 0]
    by = given.get("SortBy", "CreationTime")
    field = f"{kind}{by}" if by in ("Name", "Status") else by
    kept.sort(key=lambda each: _value(each, field, "SortBy"), reverse=_descending(given))
    start = int(given.get("NextToken", 0))
    end = start + int(given.get("MaxResults", len(kept) or 1))
    if not 0 <= start < end:
        raise UserError("is not one of a list's pages", place="NextToken, MaxResults", hint="Begin the list again.")
    return {answer: kept[start:end]} | ({"NextToken": str(end)} if end < len(kept) else {})


def _descending(given: Values) -> bool:
    order = given.get("SortOrder", "Descending")
    if order not in _ORDERS:
        raise UserError(f"must be one of {list(_ORDERS)}", place="SortOrder", hint="Fix it.")
    return _ORDERS[order]


def _value(each: Values, field: str, setting: str) -> Any:
    if field not in each:
        raise UserError(f"there is no {str(field)[:80]} here", place=setting, hint="Leave it out.")
    return each[field]
