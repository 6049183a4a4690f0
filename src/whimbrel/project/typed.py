"""The form of DynamoDB's typed values in a project file."""

from __future__ import annotations

from typing import Any


def constant_fault(value: Any) -> str:
    """What is wrong with one typed value without templates, "" if nothing is."""
    if isinstance(value, dict) and len(value) == 1:
        [(kind, content)] = value.items()
        if kind in ("S", "N", "B") and isinstance(content, str):
            return ""
        if kind in ("BOOL", "NULL") and isinstance(content, bool):
            return ""
        if kind in ("SS", "NS", "BS") and isinstance(content, list) and all(isinstance(each, str) for each in content):
            return ""
    return f'must be one typed value such as {{ S = "text" }} or {{ N = "1" }}, not {value!r}'


def typed_tree_fault(tree: Any) -> str:
    """What is wrong with the form of a typed tree, "" if nothing is."""
    if not isinstance(tree, dict) or len(tree) != 1:
        return f'must be a template, or one typed value such as {{ N = "${{n}}" }}, not {tree!r}'
    [(kind, content)] = tree.items()
    if kind in ("S", "N", "BOOL"):
        return "" if isinstance(content, str) else f"{kind} must have a template in quotes, not {content!r}"
    if kind in ("M", "L") and isinstance(content, str):
        return ""  # of a column's JSON
    if kind == "M" and isinstance(content, dict):
        return next((f"M.{name}: {fault}" for name, each in content.items() if (fault := typed_tree_fault(each))), "")
    if kind == "L" and isinstance(content, list):
        return next((f"L[{n}]: {fault}" for n, each in enumerate(content) if (fault := typed_tree_fault(each))), "")
    return f"{kind!r} is not 'S', 'N' or 'BOOL' with a template, 'M' with a table or 'L' with a list"
