"""Lines and expressions of generated code that every shape has: keys, values, checks. Column ``i`` is ``c<i>``."""

from __future__ import annotations

from whimbrel.item import (
    MAX_PARTITION_KEY_BYTES,
    MAX_SORT_KEY_BYTES,
    text_size,
)
from whimbrel.mapping import values
from whimbrel.mapping.attributes import Added, Carried, Design, Key
from whimbrel.mapping.formats import Reference, tells
from whimbrel.mapping.templates import Literal, Template
from whimbrel.mapping.trees import Leaf, Tree, templates_of
from whimbrel.mapping.unique import separators


def variable_of(design: Design, column: str) -> str:
    return f"c{design.table.index(column)}"


def unpack(design: Design) -> str:
    return "".join(f"c{i}, " for i in range(len(design.table.columns))) + "= row"


def text_of(design: Design, template: Template) -> str:
    """Source of the template's text."""
    if template.alone and values.column_piece(design.columns[template.alone], "x") == "{x}":
        column = design.columns[template.alone]
        variable = variable_of(design, template.alone)
        return f'f"{{{variable}}}"' if column.kind in values.INTEGER_KINDS else variable
    return values.text_source(
        [
            values.literal_piece(part.text) if isinstance(part, Literal) else _piece(design, part)
            for part in template.parts
        ]
    )


def _piece(design: Design, part: Reference) -> str:
    variable = variable_of(design, part.column)
    if part.plain:
        return values.column_piece(design.columns[part.column], variable)
    return f"{{FORMATS[{design.formatted.index(part)}]({variable})}}"


def null_checks(design: Design, template: Template, place: str) -> list[str]:
    return [f"if {variable_of(design, name)} is None: refuse_null({name!r}, {place!r})" for name in template.needed]


def default_checks(design: Design, template: Template, place: str) -> list[str]:
    """A value whose text is the one that stands for NULL refuses its row: else two rows would share a text."""
    lines = []
    for part in dict.fromkeys(template.references):
        if part.default is not None and tells(part, design.columns[part.column]):
            variable, text = variable_of(design, part.column), text_of(design, Template("", (part,)))
            met = f"{variable} is not None and {text} == {part.default!r}"
            lines += [f"if {met}: refuse_default({part.column!r}, {part.default!r}, {place!r})"]
    return lines


def zero_checks(design: Design, template: Template, place: str) -> list[str]:
    """A zero with a sign refuses its row: to the source it is 0.0, whose text is another. Two items would be one row's
    on the way back, and the deletion of either would delete the row.
    """
    signed = [name for name in template.columns if design.columns[name].kind in ("float", "double")]
    variables = [(name, variable_of(design, name)) for name in signed]
    return [f"if {c} == 0 and repr({c}) == '-0.0': refuse_negative_zero({name!r}, {place!r})" for name, c in variables]


def separator_checks(design: Design, template: Template, place: str) -> list[str]:
    """Two rows never share a text: a column that runs into the literal beside it refuses its row."""
    lines = []
    for separator in separators(design, template):
        column, literal = separator.part.column, separator.text
        text = text_of(design, Template("", (separator.part,)))
        met = f"{literal!r} in {text}"
        if len(literal) > 1:  # where they meet, a part of the text and a part of the separator could be one more
            beside = f"({text} + {literal!r}).find({literal!r}) < len({text})"
            met = beside if separator.behind else f"({literal!r} + {text}).rfind({literal!r}) > 0"
        lines += [f"if {met}: refuse_separator({column!r}, {text}, {literal!r}, {place!r})"]
    return lines


def key_lines(design: Design) -> list[str]:
    """Lines that set ``k0`` (and ``k1``), the key attributes' texts, or raise Refused."""
    lines = []
    for number, key in enumerate(design.keys):
        place = f"{('partition', 'sort')[number]} key {key.name!r}"
        limit = (MAX_PARTITION_KEY_BYTES, MAX_SORT_KEY_BYTES)[number]
        lines += null_checks(design, key.template, place)
        lines += default_checks(design, key.template, place)
        lines += _one_key(design, key, f"k{number}", place, limit)
    return lines


def _one_key(design: Design, key: Key, target: str, place: str, limit: int) -> list[str]:
    variable = variable_of(design, key.template.alone) if key.template.alone else ""
    if key.type == "N":
        return [f"{target} = {values.key_number_source(design.columns[key.template.alone], variable, place)}"]
    if key.type == "B":
        return [f"if not 0 < len({variable}) <= {limit}: check_key({place!r}, {variable}, {limit})",
                f"{target} = base64({variable})"]  # fmt: skip
    lines = [*zero_checks(design, key.template, place), *separator_checks(design, key.template, place)]
    lines += [f"{target} = {text_of(design, key.template)}"]
    bound = key.template.bound(design.columns)
    if bound is None or bound > limit:  # four bytes a character at most
        lines += [f"if not 0 < len({target}) <= {limit // 4}: check_key({place!r}, {target}, {limit})"]
    elif can_be_empty(design, key.template):
        lines += [f"if not {target}: check_key({place!r}, {target}, {limit})"]
    return lines


def can_be_empty(design: Design, template: Template) -> bool:
    never = values.NUMBER_KINDS | {"date", "time", "datetime", "timestamp", "uuid", "inet4", "inet6"}
    return not any(isinstance(part, Literal) or design.columns[part.column].kind in never for part in template.parts)


def key_text(design: Design) -> str:
    return "k0" if len(design.keys) == 1 else "(k0, k1)"


def key_entries(design: Design) -> list[str]:
    return [f'{key.name!r}: {{"{key.type}": k{number}}}' for number, key in enumerate(design.keys)]


def key_functions(design: Design) -> list[str]:
    return [
        function("key", "row", [unpack(design), *key_lines(design), f"return {key_text(design)}"]),
        function("key_item", "k", [f"{key_text(design)} = k", f"return {{{', '.join(key_entries(design))}}}"]),
    ]


def added_entries(design: Design) -> list[str]:
    return [f"{each.name!r}: {tree_of(design, each, each.tree)}" for each in design.added]


def tree_of(design: Design, added: Added, tree: Tree) -> str:
    """Source of the AttributeValue. A leaf with a NULL in its template is NULL, or None where NULLs are left out."""
    if isinstance(tree, Leaf):
        leaf = _leaf(design, added, tree)
        if not tree.template.needed:
            return leaf
        missing = " or ".join(f"{variable_of(design, name)} is None" for name in tree.template.needed)
        return f"({'None' if design.omit_nulls else 'SMALL_NUMBERS[None]'} if {missing} else {leaf})"
    children = [(name, tree_of(design, added, child)) for name, child in tree.children]
    if tree.type == "L":
        listed = f"[{', '.join(text for _, text in children)}]"
        return (
            f'{{"L": [each for each in {listed} if each is not None]}}' if design.omit_nulls else f'{{"L": {listed}}}'
        )
    named = f"{{{', '.join(f'{name!r}: {text}' for name, text in children)}}}"
    return f'{{"M": present({named})}}' if design.omit_nulls else f'{{"M": {named}}}'


def _leaf(design: Design, added: Added, leaf: Leaf) -> str:
    place = f"attribute {added.name!r}"
    if leaf.offset is not None:
        return f'{{"N": expiry({variable_of(design, leaf.template.alone)}, {leaf.offset}, {place!r})}}'
    text = text_of(design, leaf.template)
    if leaf.type in ("M", "L"):
        return f"json_document({text}, {leaf.type!r}, {place!r})"
    if leaf.type == "N":
        return f'{{"N": exact_number({text}, {place!r})}}'
    if leaf.type == "BOOL":
        return f'{{"BOOL": truth({text}, {place!r})}}'
    return f'{{"S": {text}}}'


def value_of(design: Design, carried: Carried, null: str = '{"NULL": True}') -> str:
    """Source of the AttributeValue of a column, whatever it holds; ``null`` is that of a NULL."""
    variable = variable_of(design, carried.column.name)
    place = f"column {carried.column.name!r}"
    present = present_of(design, carried, variable, place)
    is_small = present.startswith("SMALL_NUMBERS") and null != "None"
    return present if is_small else f"{null} if {variable} is None else {present}"


def present_of(design: Design, carried: Carried, variable: str, place: str) -> str:
    if carried.codes:
        return f"CODES[{design.coded.index(carried)}]({variable})"
    return values.attribute_source(carried.column, carried.type, variable, place)


def carried_entries(design: Design, null: str = '{"NULL": True}') -> list[str]:
    return [f"{carried.attribute!r}: {value_of(design, carried, null)}" for carried in design.carried]


def bound_of_carried(design: Design) -> int | None:
    """The most bytes that the carried columns of one row take with their names, None if unknown."""
    bounds = [values.value_bound(one.column, one.type) for one in design.carried]
    names = sum(text_size(one.attribute) + 1 for one in design.carried)
    return None if None in bounds else names + 3 + sum(bound or 0 for bound in bounds)


def bound_of_frame(design: Design) -> int | None:
    if any(not isinstance(each.tree, Leaf) or each.tree.type in ("M", "L") for each in design.added):
        return None
    templates = [key.template for key in design.keys if key.type == "S"]
    templates += [template for each in design.added for template in templates_of(each.tree)]
    bounds = [template.bound(design.columns) for template in templates]
    names = sum(text_size(name) + 1 for name in (*design.frame, *design.own, design.into))
    keys = MAX_PARTITION_KEY_BYTES + MAX_SORT_KEY_BYTES
    return None if None in bounds else names + keys + sum(bound or 0 for bound in bounds)


def indent(lines: list[str], depth: int = 1) -> list[str]:
    return ["    " * depth + line for line in lines]


def function(name: str, arguments: str, body: list[str]) -> str:
    return "\n".join([f"def {name}({arguments}):", *indent(body)])


def taken(design: Design) -> frozenset[str]:
    """The names that no entry among the item's attributes may have."""
    return design.frame | (design.sharing.taken if design.sharing else frozenset())
