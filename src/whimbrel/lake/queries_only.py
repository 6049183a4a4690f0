"""Whether SQL is one query that only reads tables. DuckDB's own parser says what it is: its text may hide a COPY in a
WITH, in a second statement, or behind EXPLAIN ANALYZE.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from whimbrel.errors import UserError

_QUERIES = {"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"}
# Others read files, open databases, take addresses in memory, or run what a text says.
FUNCTIONS = {"range", "generate_series", "unnest", "json_each", "json_tree"}
_HINT = "Write one SELECT, or SHOW TABLES. `whimbrel query` takes everything else."
NOT_ONE = "this is not one query"


def refuse_other_than_query(connection: Any, statement: str) -> None:
    """Raises UserError, and DuckDB's error for what it cannot parse."""
    connection.extract_statements(statement)
    [(text,)] = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [statement]).fetchall()
    parsed = orjson.loads(text)
    found = parsed.get("statements", [])
    if parsed.get("error") is not False or len(found) != 1:
        raise refused(NOT_ONE)
    for kind, node in _parts(found[0]):
        if ("cte_map" in node or kind.endswith("_NODE")) and kind not in _QUERIES:
            raise refused("this query has a part that does more than read")
        if kind == "TABLE_FUNCTION" and (name := node.get("function", {}).get("function_name")) not in FUNCTIONS:
            raise refused(f"the table function {name} is not answered here")


def _parts(node: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Everything in a parsed statement that has a type. Not recursive: a statement may be deep."""
    left = [node]
    while left:
        each = left.pop()
        if isinstance(each, dict):
            if "type" in each or "cte_map" in each:
                yield str(each.get("type")), each
            left.extend(each.values())
        elif isinstance(each, list):
            left.extend(each)


def refused(why: str) -> UserError:
    return UserError(why, place="SQL", hint=_HINT)
