"""A judge of SQL for Athena that shares no code with what it judges: the grammar is Trino's own, as ANTLR has it, and
the functions are Velox's, the engine that Presto is being moved to, with Presto's meaning.

A process of its own, with packages of its own in the folder that is its argument. It reads a line of JSON with a
question, and writes {"types": [[name, scale], ...], "rows": [[text or null, ...], ...]}, or {"error": ...}. A question
is over one table, with WHERE, GROUP BY, HAVING and ORDER BY. What is not known to this file is an error.
"""

from __future__ import annotations

import ctypes
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, sys.argv[1])
import pyarrow as pa
from antlr4 import CommonTokenStream, InputStream
from antlr4.error.ErrorListener import ErrorListener
from trino_query_parser.SqlBaseLexer import SqlBaseLexer
from trino_query_parser.SqlBaseParser import SqlBaseParser

_library = min(Path(pa.__file__).parent.glob("libarrow_python.so*"))
ctypes.CDLL(str(_library), ctypes.RTLD_GLOBAL)
from pyvelox.arrow import to_arrow, to_velox  # noqa: E402
from pyvelox.plan_builder import PlanBuilder  # noqa: E402
from pyvelox.runner import LocalRunner  # noqa: E402

Type = tuple[Any, ...]
WHOLE = {"integer": 10, "bigint": 19}
OPERATORS = {"+": "plus", "-": "minus", "*": "multiply", "/": "divide", "%": "mod"}
COMPARISONS = {"=": "eq", "<>": "neq", "<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}
DOUBLES = {"sqrt", "ln", "exp", "power", "is_nan"}
SAME = {"abs", "round", "floor", "ceil", "lower", "substr", "replace"}
RETURNS = {"length": "bigint", "cardinality": "bigint", "contains": "boolean", "starts_with": "boolean"}
RETURNS |= {"json_format": "varchar", "to_hex": "varchar", "nan": "double", "concat": "varchar", "strpos": "bigint"}
RETURNS |= {"year": "bigint", "month": "bigint", "day": "bigint", "date_trunc": "date", "date_diff": "bigint"}
AGGREGATES = {"count", "sum", "avg", "min", "max", "corr", "covar_pop", "covar_samp", "bool_or", "variance", "var_pop"}
AGGREGATES |= {"stddev", "stddev_pop", "stddev_samp", "var_samp", "array_agg", "bool_and", "count_if"}
OF_DOUBLES = {"corr", "covar_pop", "covar_samp"}
ALIVE: list[Any] = []  # Velox does not keep what it uses


class AnyCase(InputStream):  # type: ignore[misc]  # has no types
    """The keywords of the grammar are in capitals."""

    def LA(self, offset: int) -> int:  # noqa: N802
        found = super().LA(offset)
        return ord(chr(found).upper()) if 0 <= found < 128 else found


class Raising(ErrorListener):  # type: ignore[misc]
    def syntaxError(self, recognizer: Any, symbol: Any, line: int, column: int, message: str, error: Any) -> None:  # noqa: N802
        raise SyntaxError(f"at {column}: {message}")


def parsed(sql: str) -> Any:
    lexer = SqlBaseLexer(AnyCase(sql))
    parser = SqlBaseParser(CommonTokenStream(lexer))
    for each in (lexer, parser):
        each.removeErrorListeners()
        each.addErrorListener(Raising())
    return parser.singleStatement().statement()


class Question:
    def __init__(self, sql: str, table: pa.Table) -> None:
        self.types = {field.name: _type(field.type) for field in table.schema}
        self.aggregates: dict[str, str] = {}  # names, by the text
        self.arguments: dict[str, str] = {}  # of aggregates, in the same way
        query = parsed(sql).query().queryNoWith()
        self.sort, self.specification = query.sortItem(), query.queryTerm().queryPrimary().querySpecification()
        self.table = table

    def answer(self) -> dict[str, Any]:
        found = self.specification
        plan = _values(self.table)
        if found.where:
            plan.filter(self.value(found.where)[0])
        grouped = found.groupBy().groupingElement() if found.groupBy() else []
        groups = [self.value(each.groupingSet().expression(0))[0] for each in grouped]
        names = {text: f"g{number}" for number, text in enumerate(groups)}
        values = [self.value(each.expression()) for each in found.selectItem()]
        outputs = [names.get(text, text) for text, _ in values]
        having = self.value(found.having)[0] if found.having else ""
        if groups or self.aggregates:
            inputs = {**names, **self.arguments} or {"1": "one"}
            plan.project([f"{text} AS {name}" for text, name in inputs.items()])
            plan.aggregate(list(names.values()), [f"{text} AS {name}" for text, name in self.aggregates.items()])
            if having:
                plan.filter(having)
        plan.project([f"{text} AS c{number}" for number, text in enumerate(outputs)])
        if self.sort:
            plan.order_by([self._key(each) for each in self.sort])
        types = [(kind[0], kind[2] if kind[0] == "decimal" else 0) for _, kind in values]
        return {"types": types, **_run(plan)}  # where there is no row, Velox says no types

    def _key(self, item: Any) -> str:
        """By the name of a column of the answer."""
        [number] = [
            number
            for number, each in enumerate(self.specification.selectItem())
            if each.identifier() and each.identifier().getText() == item.expression().getText()
        ]
        order = item.ordering.text if item.ordering else "ASC"
        return f"c{number} {order} NULLS {item.nullOrdering.text if item.nullOrdering else 'LAST'}"

    def value(self, node: Any) -> tuple[str, Type]:
        """The text of Velox, where every operator is a function and every conversion is written, and its type."""
        name = type(node).__name__.removesuffix("Context")
        method = getattr(self, f"of_{name[0].lower()}{name[1:]}", None)
        if method:
            found: tuple[str, Type] = method(node)
            return found
        children = [each for each in node.getChildren() if hasattr(each, "getRuleIndex")]
        if len(children) == 1 and node.getChildCount() in (1, 3):  # alone, or in brackets
            return self.value(children[0])
        raise NotImplementedError(f"{name}: {node.getText()}")

    def of_nullLiteral(self, node: Any) -> tuple[str, Type]:  # noqa: N802
        return "cast(null as bigint)", ("unknown",)

    def of_numericLiteral(self, node: Any) -> tuple[str, Type]:  # noqa: N802
        text = node.getText()
        if "e" in text.lower():
            return f"cast('{text}' as double)", ("double",)
        if "." in text:
            before, after = text.split(".")
            kind: Type = ("decimal", max(len(before.lstrip("0") + after), 1), len(after))
            return f"cast('{text}' as {_named(kind)})", kind
        kind = ("integer",) if int(text) < 2**31 else ("bigint",)
        return f"cast({text} as {kind[0]})", kind

    def of_booleanLiteral(self, node: Any) -> tuple[str, Type]:  # noqa: N802
        return node.getText().lower(), ("boolean",)

    def of_stringLiteral(self, node: Any) -> tuple[str, Type]:  # noqa: N802
        return node.getText(), ("varchar",)

    def of_dereference(self, node: Any) -> tuple[str, Type]:
        base, name = node.base.getText(), node.fieldName.getText().strip('"').lower()
        if base == '"odd"':
            return name, self.types[name]
        text, kind = self.value(node.base)
        return f"{text}.{name}", dict(kind[1])[name]

    def of_arithmeticUnary(self, node: Any) -> tuple[str, Type]:  # noqa: N802
        text, kind = self.value(node.valueExpression())
        return (f"negate({text})" if node.operator.text == "-" else text), kind

    def of_arithmeticBinary(self, node: Any) -> tuple[str, Type]:  # noqa: N802
        operator, sides = node.operator.text, [self.value(node.left), self.value(node.right)]
        common = _common([kind for _, kind in sides])
        if common[0] == "decimal":  # each keeps its own scale
            sides = [(_cast(text, kind, own := _decimal(kind)), own) for text, kind in sides]
            return f"{OPERATORS[operator]}({sides[0][0]}, {sides[1][0]})", _result(operator, sides[0][1], sides[1][1])
        first, second = (_cast(*each, common) for each in sides)
        return f"{OPERATORS[operator]}({first}, {second})", common

    def of_concatenation(self, node: Any) -> tuple[str, Type]:
        return f"concat({self.value(node.left)[0]}, {self.value(node.right)[0]})", ("varchar",)

    def of_predicated(self, node: Any) -> tuple[str, Type]:
        value = self.value(node.valueExpression())
        found = node.predicate()
        if found is None:
            return value
        kind = type(found).__name__.removesuffix("Context")
        if kind == "Comparison":
            operator = COMPARISONS[found.comparisonOperator().getText().replace("!=", "<>")]
            text = self.compared(operator, value, self.value(found.right))
        elif kind == "DistinctFrom":
            text = self.compared("distinct_from", value, self.value(found.right))
        elif kind == "NullPredicate":
            text = f"is_null({value[0]})"
        elif kind == "InList":
            text = _any([self.compared("eq", value, self.value(each)) for each in found.expression()])
        elif kind == "Between":
            low, high = self.value(found.lower), self.value(found.upper)
            text = f"({self.compared('gte', value, low)} and {self.compared('lte', value, high)})"
        elif kind == "Like":
            escape = f", {self.value(found.escape)[0]}" if found.escape else ""
            text = f"like({value[0]}, {self.value(found.pattern)[0]}{escape})"
        else:
            raise NotImplementedError(kind)
        return (f"not({text})" if hasattr(found, "NOT") and found.NOT() else text), ("boolean",)

    def compared(self, operator: str, *sides: tuple[str, Type]) -> str:
        common = _common([kind for _, kind in sides])
        return f"{operator}({', '.join(_cast(*each, common) for each in sides)})"

    def of_logicalNot(self, node: Any) -> tuple[str, Type]:  # noqa: N802
        return f"not({self.value(node.booleanExpression())[0]})", ("boolean",)

    def of_and(self, node: Any) -> tuple[str, Type]:
        return f"({' and '.join(_cast(*self.value(each), ('boolean',)) for each in node.booleanExpression())})", (
            "boolean",
        )

    def of_or(self, node: Any) -> tuple[str, Type]:
        return _any([_cast(*self.value(each), ("boolean",)) for each in node.booleanExpression()]), ("boolean",)

    def of_searchedCase(self, node: Any) -> tuple[str, Type]:  # noqa: N802
        return self.case(node, [self.value(each.condition)[0] for each in node.whenClause()])

    def of_simpleCase(self, node: Any) -> tuple[str, Type]:  # noqa: N802
        value = self.value(node.operand)
        return self.case(node, [self.compared("eq", value, self.value(each.condition)) for each in node.whenClause()])

    def case(self, node: Any, conditions: list[str]) -> tuple[str, Type]:
        results = [self.value(each.result) for each in node.whenClause()]
        otherwise = self.value(node.elseExpression) if node.elseExpression else ("cast(null as bigint)", ("unknown",))
        common = _common([kind for _, kind in [*results, otherwise]])
        whens = " ".join(
            f"when {test} then {_cast(*result, common)}" for test, result in zip(conditions, results, strict=True)
        )
        return f"case {whens} else {_cast(*otherwise, common)} end", common

    def of_cast(self, node: Any) -> tuple[str, Type]:
        text, _ = self.value(node.expression())
        name = node.type_().getText().lower()
        if name.startswith("decimal("):
            target: Type = ("decimal", *(int(each) for each in name[8:-1].split(",")))
        else:
            target = ({"int": "integer"}.get(name, name),)
        return f"cast({text} as {_named(target)})", target

    def of_functionCall(self, node: Any) -> tuple[str, Type]:  # noqa: N802
        name = node.qualifiedName().getText().strip('"').lower()
        given = [self.value(each) for each in node.expression()]
        if node.over():
            raise NotImplementedError("OVER")
        if name in AGGREGATES:
            return self.aggregate(name, given, node)
        if name in {"coalesce", "greatest", "least"}:
            common = _common([kind for _, kind in given])
            return f"{name}({', '.join(_cast(*each, common) for each in given)})", common
        if name == "nullif":
            first, second = given
            return (
                f"if({self.compared('eq', first, second)}, cast(null as {_named(first[1])}), {first[0]})",
                first[1],
            )
        if name in DOUBLES:
            given = [(_cast(*each, ("double",)), ("double",)) for each in given]
            return f"{name}({', '.join(text for text, _ in given)})", ("boolean" if name == "is_nan" else "double",)
        if name == "element_at":
            return f"element_at({given[0][0]}, {given[1][0]})", given[0][1][1]
        if name == "contains":
            given[1] = (_cast(*given[1], given[0][1][1]), given[0][1][1])
        text = f"{name}({', '.join(text for text, _ in given)})"
        return text, _of_first(name, given[0][1], len(given)) if name in SAME else (RETURNS[name],)

    def aggregate(self, name: str, given: list[tuple[str, Type]], node: Any) -> tuple[str, Type]:
        inputs = [
            (_cast(*each, ("double",)), ("double",)) if name in OF_DOUBLES or name.startswith(("std", "var")) else each
            for each in given
        ]
        columns = [self.arguments.setdefault(text, f"a{len(self.arguments)}") for text, _ in inputs]
        if node.filter_():
            test = self.value(node.filter_().booleanExpression())[0]
            raise NotImplementedError(f"FILTER {test}")
        distinct = "distinct " if node.setQuantifier() and node.setQuantifier().DISTINCT() else ""
        text = f"{name}({distinct}{', '.join(columns) or '1'})"
        column = self.aggregates.setdefault(text, f"r{len(self.aggregates)}")
        kinds = {"count": "bigint", "count_if": "bigint", "bool_or": "boolean", "bool_and": "boolean"}
        kind: Type = (kinds.get(name, "double"),)
        if name in {"sum", "min", "max"}:
            kind = inputs[0][1]
            kind = ("decimal", 38, kind[2]) if name == "sum" and kind[0] == "decimal" else kind
        return column, kind


def _any(tests: list[str]) -> str:
    return f"({' or '.join(tests)})"


def _type(kind: pa.DataType) -> Type:
    if pa.types.is_decimal(kind):
        return ("decimal", kind.precision, kind.scale)
    if pa.types.is_list(kind):
        return ("array", _type(kind.value_type))
    if pa.types.is_struct(kind):
        return ("row", tuple((kind.field(n).name, _type(kind.field(n).type)) for n in range(kind.num_fields)))
    names = {
        pa.int64(): "bigint",
        pa.int32(): "integer",
        pa.float64(): "double",
        pa.string(): "varchar",
        pa.bool_(): "boolean",
        pa.date32(): "date",
    }
    return (names.get(kind, "varbinary"),)


def _named(kind: Type) -> str:
    if kind[0] == "array":
        return f"array({_named(kind[1])})"
    return {"unknown": "bigint"}.get(kind[0], f"decimal({kind[1]}, {kind[2]})" if kind[0] == "decimal" else kind[0])


def _cast(text: str, kind: Type, target: Type) -> str:
    return text if kind == target else f"cast({text} as {_named(target)})"


def _decimal(kind: Type) -> Type:
    return kind if kind[0] == "decimal" else ("decimal", WHOLE.get(kind[0], 1), 0)


def _common(kinds: list[Type]) -> Type:
    """The type that all are converted to by themselves, as Trino has it."""
    known = [each for each in kinds if each != ("unknown",)] or [("bigint",)]
    if len(set(known)) == 1:
        return known[0]
    names = {each[0] for each in known}
    if "double" in names and names <= {"double", "decimal", *WHOLE}:
        return ("double",)
    if names <= {*WHOLE}:
        return ("bigint",)
    if names <= {"decimal", *WHOLE}:
        decimals = [_decimal(each) for each in known]
        scale = max(each[2] for each in decimals)
        return ("decimal", min(38, max(each[1] - each[2] for each in decimals) + scale), scale)
    raise TypeError(f"Trino has no common type of {sorted(names)}")


def _result(operator: str, first: Type, second: Type) -> Type:
    (_, p1, s1), (_, p2, s2) = first, second
    if operator == "*":
        return ("decimal", min(38, p1 + p2), s1 + s2)
    if operator == "%":
        return ("decimal", min(p1 - s1, p2 - s2) + max(s1, s2), max(s1, s2))
    if operator == "/":
        raise NotImplementedError("a quotient of decimals")
    return ("decimal", min(38, max(p1 - s1, p2 - s2) + max(s1, s2) + 1), max(s1, s2))


def _of_first(name: str, kind: Type, arguments: int) -> Type:
    """What a function gives whose type is its first argument's, but for the digits of a decimal that is rounded."""
    if kind[0] != "decimal" or name == "abs":
        return kind
    _, precision, scale = kind
    if arguments > 1:
        return ("decimal", min(38, precision + 1), scale)
    return ("decimal", precision - scale + min(scale, 1), 0)


def _values(table: pa.Table) -> Any:
    batch = pa.RecordBatch.from_arrays([each.combine_chunks() for each in table.columns], table.column_names)
    vector = to_velox(batch)
    ALIVE.extend([batch, vector])
    return PlanBuilder().values([vector])


def _run(plan: Any) -> dict[str, Any]:
    runner = LocalRunner(plan.get_plan_node())
    ALIVE.extend([plan, runner])
    types: list[tuple[str, int]] = []
    rows: list[list[str | None]] = []
    for vector in runner.execute():
        ALIVE.append(vector)
        batch = to_arrow(vector)
        fields = [batch.type.field(number) for number in range(batch.type.num_fields)]
        types = [(_type(each.type)[0], getattr(each.type, "scale", 0)) for each in fields]
        columns = [batch.field(number).to_pylist() for number in range(batch.type.num_fields)]
        rows += [[_text(each) for each in row] for row in zip(*columns, strict=True)]
    return {"types": types, "rows": rows} if rows else {"rows": []}


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return str(value).lower() if isinstance(value, bool) else repr(value) if isinstance(value, float) else str(value)


def main() -> None:
    table = pa.ipc.open_file(sys.argv[2]).read_all()
    for line in sys.stdin:
        try:
            answer = Question(json.loads(line), table).answer()
        except Exception as error:  # whatever it is, the test says it
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


main()
