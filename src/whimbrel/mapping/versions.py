"""One rule over the versions of its table: which columns were added, dropped or changed since the migration began, and
what the rule says about it.

Every version has a mapping of its own, compiled for exactly its columns. The first version is the one that the rule was
written for. What differs from it is decided by name, never guessed:

- a new column: ``new_columns`` says; a column that the rule names is decided already;
- a dropped column: it must be excluded;
- a column of another type: its values must be the same in the target, or it must be excluded;
- a column that has the name of an earlier one and other values, likewise. A rename is a drop and an add.

Where the rule looks columns up, they are the other table's as it is now, whose values must be the same as at the start.
Rows that wait for the other table's changes are kept as they were (see ``migration.joins``): so of a table that looks
something up, a column that came later is not carried.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Any

from whimbrel.errors import MappingError, SchemaDrift
from whimbrel.mapping.attributes import Sharing
from whimbrel.mapping.design import TableMapping, compile_mapping
from whimbrel.mapping.lookups import NO_PARENTS, Parents, joined
from whimbrel.mapping.meeting import may_meet, meeting
from whimbrel.project import TableRule
from whimbrel.records import Column, Table

GO_ON = "and run the same command again: it continues from where it stopped."
_START_OVER = "or start over with a new state folder and target table."
_INTEGERS = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}


class Versions:
    """The mappings of one rule. ``known``: columns that any version of it has had.

    Safe in threads: at worst the same mapping is compiled twice.
    """

    def __init__(
        self,
        rule: TableRule,
        first: Table,
        known: Iterable[str] = (),
        sharing: Sharing | None = None,
        parents: Parents = NO_PARENTS,
    ) -> None:
        self.rule = rule
        self.first = first
        self._known = frozenset(known) | frozenset(first.names)
        self._sharing = sharing
        self.parents = parents
        self._mappings: dict[Table, TableMapping] = {}
        self._apart: list[Versions] = []

    def __getstate__(self) -> dict[str, Any]:
        """For a worker process; another thread may compile a mapping meanwhile."""
        return {**self.__dict__, "_mappings": dict(self._mappings)}

    def shared(self, sharing: Sharing) -> Versions:
        """The same, knowing what other tables demand of the items that this one shares with them."""
        return Versions(self.rule, self.first, self._known, sharing, self.parents)

    def keep_apart(self, other: Versions) -> None:
        """No key of this rule's items is ever one of the other's: proved of the tables as they are, and again of each
        version that comes, as an ENUM of more members may have texts that it had not.
        """
        self._apart.append(other)

    def of(self, table: Table, replaced: Collection[str] = ()) -> TableMapping:
        """The mapping for rows of ``table``; ``replaced`` are columns whose values are others than before.

        Raises MappingError if the rule does not fit the first version, SchemaDrift if it does not say what becomes of
        what changed since, or does not fit any more.
        """
        table = table.stored
        made = self._mappings.get(table)
        if made is None or replaced:
            made = self._mappings[table] = self._compiled(self.rule_for(table, replaced), table)
        return made

    def rule_for(self, table: Table, replaced: Collection[str] = ()) -> TableRule:
        """The rule as it is for ``table``. Raises SchemaDrift if it does not say how the change is handled."""
        self._known |= frozenset(table.names)
        self._refuse_undecided(table, replaced)
        return fitted(self.rule, self.first, table, self._known)

    def readable(self, now: TableMapping) -> TableMapping:
        """The mapping by which to read rows from a table that is as ``now`` has it: by the first version's columns if
        they are all still there, so that what the snapshot makes of a row does not depend on when it read it.
        """
        first, table = self.first, now.table.stored
        same = set(first.columns) <= set(table.columns) and first.primary_key == table.primary_key
        return self.of(first) if same else now

    def new_columns(self, table: Table) -> tuple[str, ...]:
        """Columns of ``table`` that came after the first version."""
        return tuple(name for name in table.stored.names if name not in self.first.names)

    def altered(self, table: Table) -> tuple[str, ...]:
        """Columns that are carried and came after the first version, and those that went."""
        names = (*self.new_columns(table), *(name for name in self.first.names if name not in table.names))
        carried = {one.column.name for one in self.of(table).design.carried}
        return tuple(name for name in names if name in carried or name not in table.names)

    def _refuse_undecided(self, table: Table, replaced: Collection[str]) -> None:
        faults, hints = [], []
        undecided = [name for name in self.new_columns(table) if not _names(self.rule, name)]
        if undecided and self.rule.new_columns == "stop":
            words = ", ".join(f"{name!r} ({table.column(name).type_name})" for name in undecided)
            faults.append(f"new {_counted('column', undecided)} {words}")
            hints.append(f'Decide how it is handled: new_columns = "ignore" or "include" in its [[table]], {GO_ON}')
        went = [name for name in self.first.names if name not in table.names and name not in self.rule.exclude]
        if went:
            faults.append(f"{_counted('column', went)} {', '.join(map(repr, went))} {_was(went)} dropped or renamed")
        changed = self._changed(table, replaced)
        faults += changed
        if went:
            hints.append(
                f"Add it to `exclude` if items can do without it (they keep it until their rows change), {GO_ON}"
            )
        if went or changed:
            hints.append("Otherwise start over with a new state folder and target table.")
        if faults:
            raise SchemaDrift(f"schema changed: {'; '.join(faults)}", place=table.full_name, hint=" ".join(hints))

    def _changed(self, table: Table, replaced: Collection[str]) -> list[str]:
        found = []
        for old in self.first.columns:
            if old.name not in table.names or old.name in self.rule.exclude:
                continue
            new = table.column(old.name)
            if old.name in replaced:
                found.append(f"column {old.name!r} has other values than before")
            elif new != old and not same_values(old, new):
                found.append(f"column {old.name!r} was {_words(old)}, and is {_words(new)} now")
        return found

    def _compiled(self, rule: TableRule, table: Table) -> TableMapping:
        made = self._fitting(rule, table)
        for each in (mapping for other in self._apart for mapping in list(other._mappings.values())):
            if may_meet(made, each):
                hint = f"Undo the ALTER, {_START_OVER}"
                raise SchemaDrift(f"schema changed: {meeting(made, each)}", place=table.full_name, hint=hint)
        return made

    def _fitting(self, rule: TableRule, table: Table) -> TableMapping:
        try:
            made = compile_mapping(rule, joined(rule, table, self.parents), self._sharing)
        except MappingError as error:
            if table == self.first:
                raise
            message = f"schema changed, and the mapping no longer fits: {error.message}"
            raise SchemaDrift(
                message, place=table.full_name, hint=f"Fix the mapping {GO_ON[:-1]}, {_START_OVER}"
            ) from error
        self._refuse_looked_up(made)
        return made

    def _refuse_looked_up(self, made: TableMapping) -> None:
        """Raises SchemaDrift where look-ups would give other values than before, or rows that wait for them have not
        all that is carried now.
        """
        for each in self.rule.lookups:
            parent = self.parents[each.parent]
            old = parent.first.column(each.column) if each.column in parent.first.names else None
            new = parent.now.column(each.column)
            if old is None or (old != new and not same_values(old, new)):
                raise SchemaDrift(
                    f"schema changed: column {each.column!r}, which {self.rule.source} looks up, has other values",
                    place=each.parent,
                    hint=f"Look nothing up there {GO_ON[:-1]}, {_START_OVER}",
                )
        came = [one.column.name for one in made.design.carried if one.column.name in self.new_columns(made.table)]
        if made.looks_up and came:
            raise SchemaDrift(
                f"schema changed: new {_counted('column', came)} {', '.join(map(repr, came))} of a table that looks "
                f"columns up",
                place=self.rule.source,
                hint=f'Write new_columns = "ignore" or exclude it in its [[table]], {GO_ON[:-1]}, {_START_OVER}',
            )


def fitted(rule: TableRule, first: Table, table: Table, known: Collection[str]) -> TableRule:
    """``rule`` for ``table``: it may speak of columns that only other versions have, and new ones may be left out."""
    elsewhere = {name for name in known if name not in table.names}
    elsewhere |= {name for name, column in rule.before_image.items() if column in elsewhere}
    ignored: tuple[str, ...] = ()
    if rule.new_columns == "ignore":
        ignored = tuple(name for name in table.names if name not in first.names and not _names(rule, name))
    return replace(
        rule,
        exclude=(*(name for name in rule.exclude if name not in elsewhere), *ignored),
        rename=_without(rule.rename, elsewhere),
        types=_without(rule.types, elsewhere),
        codes={name: value for name, value in rule.codes.items() if name not in elsewhere},
        mask=_without(rule.mask, elsewhere),
        before_image=_without(rule.before_image, elsewhere),
    )


def _without(settings: dict[str, str], names: Collection[str]) -> dict[str, str]:
    return {name: value for name, value in settings.items() if name not in names}


def _names(rule: TableRule, column: str) -> bool:
    """Whether the rule speaks of the column in so many words."""
    return any(column in names for names in (rule.exclude, rule.rename, rule.types, rule.codes, rule.mask))


def same_values(old: Column, new: Column) -> bool:
    """Whether each value of ``old`` is, in DynamoDB and in templates, the same in ``new``: an ALTER writes no row
    events for the values that it converts, and outside of strict mode it cuts what does not fit.
    """
    if new.kind != old.kind or (old.nullable and not new.nullable):  # NULL may become 0 or an empty text
        return False
    if old.kind == "int":
        return _range(new)[0] <= _range(old)[0] and _range(old)[1] <= _range(new)[1]
    if old.kind in ("decimal", "bit"):
        return new.scale == old.scale and new.precision >= old.precision
    if old.kind in ("float", "double"):
        return (_word(new), new.precision, new.scale) == (_word(old), old.precision, old.scale)
    if old.kind in ("datetime", "timestamp", "time"):
        return new.scale == old.scale
    if old.kind in ("enum", "set"):
        return new.members[: len(old.members)] == old.members
    if old.kind == "text":
        return _is_wider(old.charset, new.charset) and _fits(old, new)
    if old.kind == "binary":
        same = (_word(new), new.length) == (_word(old), old.length)
        return same or (new.length >= old.length and "binary" not in (_word(old), _word(new)))
    return True


def _range(column: Column) -> tuple[int, int]:
    bits = _INTEGERS[_word(column)]
    return (0, 2**bits - 1) if column.unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _fits(old: Column, new: Column) -> bool:
    """CHAR and VARCHAR count characters, of four bytes at most, the TEXT family bytes. CHAR cuts blanks off."""
    counted = ("char", "varchar")
    if _word(new) == "char" and _word(old) != "char":
        return False
    if _word(new) in counted:
        return _word(old) in counted and new.length >= old.length
    more = 4 if _word(old) in counted or new.charset != old.charset else 1
    return new.length >= old.length * more


def _is_wider(old: str, new: str) -> bool:
    return old == new or new == "utf8mb4" or (old == "ascii" and new.startswith("utf8"))


def _word(column: Column) -> str:
    """``varchar`` of ``varchar(20)``."""
    return column.type_name.lower().partition("(")[0].partition(" ")[0]


def _words(column: Column) -> str:
    charset = f" in {column.charset}" if column.charset else ""
    return f"{column.type_name or column.kind}{charset}{'' if column.nullable else ' NOT NULL'}"


def _counted(word: str, names: Collection[str]) -> str:
    return word if len(names) == 1 else f"{word}s"


def _was(names: Collection[str]) -> str:
    return "was" if len(names) == 1 else "were"
