"""A table rule as the ``[[table]]`` section of a project file that says the same."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from whimbrel.project import ConditionRule, KeyRule, TableRule


def table_section(rule: TableRule) -> str:
    """For rules as ``translate`` makes them: shape record or document, without indexes."""
    lines = [
        "[[table]]",
        f"source = {_text(rule.source)}",
        f"target = {_text(rule.target)}",
        f"shape = {_text(rule.shape)}",
        f"partition_key = {_key(rule.partition_key)}",
    ]
    lines += [f"sort_key = {_key(rule.sort_key)}"] if rule.sort_key else []
    lines += [f"filter = {_text(rule.filter)}"] if rule.filter else []
    lines += [f"exclude = {value(list(rule.exclude))}"] if rule.exclude else []
    lines += [f"rename = {value(rule.rename)}"] if rule.rename else []
    lines += [f"before_image = {value(rule.before_image)}"] if rule.before_image else []
    lines += [f"types = {value(rule.types)}"] if rule.types else []
    lines += ["assert_unique = true"] if rule.assert_unique else []
    lines += [f"nulls = {_text(rule.nulls)}", f"new_columns = {_text(rule.new_columns)}"]
    lines += _sub_table("columns", rule.columns) + _sub_table("attributes", rule.attributes)
    lines += _condition(rule.condition) if rule.condition else []
    return "\n".join(lines) + "\n"


def value(content: Any) -> str:
    """Texts, lists and tables of them, on one line."""
    if isinstance(content, str):
        return _text(content)
    if isinstance(content, bool):
        return "true" if content else "false"
    if isinstance(content, list):
        return f"[{', '.join(map(value, content))}]"
    return "{ " + ", ".join(f"{_name(name)} = {value(each)}" for name, each in content.items()) + " }"


def _sub_table(name: str, content: Mapping[str, Any]) -> list[str]:
    return [f"[table.{name}]", *(f"{_name(each)} = {value(text)}" for each, text in content.items())] if content else []


def _condition(rule: ConditionRule) -> list[str]:
    return [
        "[table.condition]",
        f"expression = {_text(rule.expression)}",
        *([f"names = {value(rule.names)}"] if rule.names else []),
        *([f"values = {value(rule.values)}"] if rule.values else []),
        *([] if rule.load else ["load = false"]),
    ]


def _key(key: KeyRule) -> str:
    return value({"name": key.name, "value": key.value, "type": key.type})


def _name(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _text(name)


def _text(text: str) -> str:
    """TOML's basic strings are JSON's, but for DEL, which must be escaped too."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
