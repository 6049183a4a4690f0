"""Documents with anything anywhere, and how to write them down."""

from __future__ import annotations

import copy
import json
import math
import os
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

# WHIMBREL_FUZZ=100 for a long run by hand.
TIMES = int(os.environ.get("WHIMBREL_FUZZ", "1"))


def often(examples: int) -> settings:
    quiet = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.function_scoped_fixture]
    return settings(deadline=None, max_examples=examples * TIMES, suppress_health_check=quiet)


texts = st.text(st.characters(codec="utf-8"), max_size=6)


def anything(words: list[str]) -> st.SearchStrategy[Any]:
    named = st.sampled_from(words)
    return st.recursive(
        st.booleans() | st.integers() | st.floats() | texts | named,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(named | texts, inner, max_size=3),
        max_leaves=6,
    )


def words_of(document: Any) -> list[str]:
    """Every text in it, names among them."""
    if isinstance(document, dict):
        return [*document, *(word for value in document.values() for word in words_of(value))]
    if isinstance(document, list):
        return [word for value in document for word in words_of(value)]
    return [document] if isinstance(document, str) else []


@st.composite
def changed(draw: st.DrawFn, document: dict[str, Any]) -> dict[str, Any]:
    """``document`` with some of its values exchanged, added or gone."""
    words = sorted(set(words_of(document)))
    made = copy.deepcopy(document)
    for _ in range(draw(st.integers(0, 3))):
        if not (found := places(made)):
            break
        *way, last = draw(st.sampled_from(found))
        parent = made
        for step in way:
            parent = parent[step]
        match draw(st.sampled_from(["exchange", "drop", "add"])):
            case "exchange":
                parent[last] = draw(anything(words))
            case "drop":
                del parent[last]
            case "add" if isinstance(parent, dict):
                parent[draw(st.sampled_from(words) | texts)] = draw(anything(words))
    return made


def places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path to every value."""
    found = [path] if path else []
    if isinstance(document, dict):
        return found + [each for name, value in document.items() for each in places(value, (*path, name))]
    if isinstance(document, list):
        return found + [each for number, value in enumerate(document) for each in places(value, (*path, number))]
    return found


def toml(document: dict[str, Any]) -> str:
    return "".join(f"{json.dumps(name)} = {_inline(value)}\n" for name, value in document.items())


def _inline(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else str(value)
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_text(name)} = {_inline(each)}' for name, each in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_inline, value))}]"
    return _text(value) if isinstance(value, str) else str(value)


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
